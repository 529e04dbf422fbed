"""Seeds and the service times of models go in, random mixes of them come out as workloads.

A mix has two to five models, at least one of them critical and one best-effort, periodic and
Poisson arrivals, and an offered load drawn evenly from [0.2, 0.85]. The load is divided among its
tasks at random; models and shares that give a task a rate about which a window can tell nothing
are drawn again. SLOs are drawn wide, from hardly to always kept, so that both verdicts occur.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cotenant.core.errors import WorkloadError
from cotenant.core.task import Criticality, Periodic, Poisson, Slo, Task
from cotenant.core.workload import Workload

SEEDS = tuple(range(301, 341))
"""One for each mix that is drawn unless fresh ones are asked for."""

MODELS = (
    "squeezenet",
    "shufflenet",
    "gru",
    "lstm",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "densenet121",
)
"""Of the zoo: 3 to 50 ms each here, so that a short window sees enough requests of every one."""

MODELS_PER_MIX = (2, 5)
UTILIZATION = (0.2, 0.85)
RATE_RPS = (3.0, 60.0)
"""A task with a lower rate shows no p99 in a window; a higher one loads the network, not models."""
SLO_FACTOR = (1.2, 20.0)
"""SLO over mean latency alone, drawn on a logarithmic scale."""
SLO_QUANTILES = (0.9, 0.95, 0.99)

SLOWDOWN_MAX = 3.0
"""Wide: the guard looks at minutes, and would change its mind between two windows of seconds."""

_TRIES = 2_000
"""Of models and shares, for one number of models and one load."""
_ROUNDS = 20
"""Of numbers of models and loads: five slow models do not fit into a load of 0.2."""

AloneTimes = Mapping[tuple[str, Criticality], float]
"""Mean service time of each model alone, in seconds."""


class DrawnMix(NamedTuple):
    """One workload and how it came about."""

    seed: tuple[int, ...]
    utilization: float
    """Offered load: rate times mean service time alone, summed over the tasks."""
    workload: Workload


def seeds_of(mixes: int, seed: int | None) -> tuple[tuple[int, ...], ...]:
    """The fixed list, or fresh ones from a seed; the fixed list goes on where it is too short.

    >>> seeds_of(2, None), seeds_of(2, 7)
    (((301,), (302,)), ((7, 0), (7, 1)))
    """
    if seed is not None:
        return tuple((seed, place) for place in range(mixes))
    more = range(SEEDS[-1] + 1, SEEDS[-1] + 1 + max(0, mixes - len(SEEDS)))
    return tuple((one,) for one in (*SEEDS, *more)[:mixes])


def draw_mixes(
    seeds: Sequence[Sequence[int]], alone_s: AloneTimes, models: Sequence[str] = MODELS
) -> tuple[DrawnMix, ...]:
    """One mix for each seed, named by its place.

    Raises:
        WorkloadError: these models are too few, or too slow, for any such mix.
    """
    if len(models) < MODELS_PER_MIX[0]:
        raise WorkloadError(
            f"a mix needs {MODELS_PER_MIX[0]} models, there is {', '.join(models) or 'none'}; "
            "profile more of the zoo"
        )
    return tuple(
        _draw(f"mix-{place:02d}", tuple(seed), alone_s, models)
        for place, seed in enumerate(seeds, start=1)
    )


def _draw(name: str, seed: tuple[int, ...], alone_s: AloneTimes, models: Sequence[str]) -> DrawnMix:
    rng = np.random.default_rng(seed)
    fewest, most = MODELS_PER_MIX
    for _ in range(_ROUNDS):
        # Not drawn again with the rest: few large mixes and few low loads would pass the rates.
        size = int(rng.integers(fewest, min(most, len(models)) + 1))
        utilization = float(rng.uniform(*UTILIZATION))
        for _ in range(_TRIES):
            rates_rps = _rates(size, utilization, alone_s, models, rng)
            if all(RATE_RPS[0] <= rate_rps <= RATE_RPS[1] for rate_rps in rates_rps.values()):
                tasks = tuple(
                    _task(*one, rate_rps, alone_s[one], rng) for one, rate_rps in rates_rps.items()
                )
                return DrawnMix(seed, utilization, Workload(name=name, tasks=tasks))
    raise WorkloadError(
        f"no mix of {', '.join(models)} has a load in {UTILIZATION} with every rate in "
        f"{RATE_RPS} per second; profile faster models"
    )


def _rates(
    size: int,
    utilization: float,
    alone_s: AloneTimes,
    models: Sequence[str],
    rng: np.random.Generator,
) -> dict[tuple[str, Criticality], float]:
    """Random models, critical ones first, and what each is asked per second."""
    chosen = [models[place] for place in rng.permutation(len(models))[:size]]
    critical = 1 + int(rng.integers(0, size - 1))
    shares = rng.dirichlet(np.full(size, 2.0))
    kinds = [Criticality.CRITICAL] * critical + [Criticality.BEST_EFFORT] * (size - critical)
    return {
        one: float(share) * utilization / alone_s[one]
        for one, share in zip(zip(chosen, kinds, strict=True), shares, strict=True)
    }


def _task(
    model: str, kind: Criticality, rate_rps: float, alone_s: float, rng: np.random.Generator
) -> Task:
    periodic = bool(rng.random() < 0.5)
    factor = float(np.exp(rng.uniform(*np.log(SLO_FACTOR))))
    return Task(
        name=model,
        model=f"zoo:{model}",
        criticality=kind,
        slowdown_max=SLOWDOWN_MAX,
        slo=Slo(latency_s=factor * alone_s, quantile=float(rng.choice(SLO_QUANTILES))),
        arrivals=Periodic(kind="periodic", rate_rps=rate_rps)
        if periodic
        else Poisson(kind="poisson", rate_rps=rate_rps),
    )
