"""The published EdgeTPU table goes in; the swap predictor beside the simulated swaps comes out.

A simulated mean is noisy; what is known exactly takes most of the noise out. With the same
arrivals, first come first served with the mean swap in place of each swap is an M/G/1 queue: its
simulated mean sojourn less its Pollaczek-Khinchine mean is chance, and nearly the same chance.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from cotenant.bench.theory import mean_sojourns, swap_case
from cotenant.core.record import Record
from cotenant.queueing import swap
from cotenant.queueing.service import deterministic
from cotenant.queueing.stream import Sojourn, Stream

_WARM_UP = 0.1


class SwapRow(NamedTuple):
    """One set of models that share the accelerator."""

    models: tuple[str, ...]
    simulated_s: float
    """Mean over all requests, chance taken out by the control."""
    predicted_s: float

    @property
    def error(self) -> float:
        return abs(self.predicted_s / self.simulated_s - 1.0)


def sets() -> Iterator[tuple[str, ...]]:
    """All pairs and triples of the table."""
    for size in (2, 3):
        yield from combinations(swap.EDGE_TPU, size)


def compare(models: Sequence[str], load: float, requests: int, rng: np.random.Generator) -> SwapRow:
    """Simulate a set at a load, and predict it."""
    needs = {
        name: (deterministic(swap.EDGE_TPU[name][0]), swap.EDGE_TPU[name][1]) for name in models
    }
    case = swap_case("model swap", load, needs)
    _, records = mean_sojourns(case, requests, rng, int(_WARM_UP * requests))
    rate_rps = {task.name: getattr(task.arrivals, "rate_rps", 0.0) for task in case.tasks}
    streams = [
        swap.Swapped(Stream(name, rate_rps[name], needs[name][0]), needs[name][1])
        for name in models
    ]
    known_s = float(
        np.mean([one.mean_s for one in swap.published(streams) if isinstance(one, Sojourn)])
    )
    own_s = np.array([record.sojourn_s for record in records])
    excess_s = _averaged(records, models) - known_s
    factor = float(np.cov(own_s, excess_s)[0, 1] / excess_s.var(ddof=1))
    simulated_s = float(own_s.mean()) - factor * float(excess_s.mean())
    # Equal rates: the mean over requests is that over models.
    return SwapRow(tuple(models), simulated_s, float(np.mean(list(case.theory_s.values()))))


def _averaged(records: Sequence[Record], models: Sequence[str]) -> np.ndarray:
    """Sojourns of the same arrivals, each with the mean swap: Lindley's recursion."""
    other = 1.0 - 1.0 / len(models)
    need_s = {name: swap.EDGE_TPU[name][0] + other * swap.EDGE_TPU[name][1] for name in models}
    free_s, sojourns_s = 0.0, []
    for record in records:
        free_s = max(free_s, record.arrival_s) + need_s[record.task]
        sojourns_s.append(free_s - record.arrival_s)
    return np.array(sojourns_s)
