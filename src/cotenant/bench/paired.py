"""A figure of two policies in each round goes in; the one over the other comes out.

All policies go through every round, so what a round does to the machine it does to both: the
ratio is taken within rounds. Over rounds its logarithms are summed up by the median of their
pairwise averages, with the interval that belongs to Wilcoxon's signed-rank test. A round in
which something else held the machine during one policy's phase moves neither of them far, and
rounds that differ make the interval as wide as they differ. Assumed is that logarithms of
ratios lie symmetrically about their middle, as they do where what disturbs one policy might as
well have disturbed the other. (Hodges and Lehmann, Ann. Math. Statist. 34, 1963; Hollander,
Wolfe and Chicken, Nonparametric Statistical Methods, 2014, sections 3.2 and 3.3.)
"""

from collections.abc import Iterable, Mapping
from functools import reduce

import numpy as np

from cotenant.bench.figures import Key, Sample, Samples
from cotenant.bench.records import ALONE
from cotenant.bench.statistics import Interval

ByRound = Mapping[int, float]
"""A figure of one policy in each round in which it was measured."""

_TAIL = 0.025
_NOTHING = 1e-12  # stands for nought, which has no logarithm


def ratio(ours: ByRound, theirs: ByRound) -> Interval | None:
    """Ours over theirs, with its 95 % interval; `None` where no round has both.

    Fewer than six rounds cannot make 95 %: the interval is then the widest that they allow,
    which covers 75 % with three; one round allows none, and both ends are its ratio.

    >>> [round(one, 3) for one in ratio({0: 4.0, 1: 16.0}, {0: 1.0, 1: 1.0})]
    [8.0, 4.0, 16.0]
    """
    rounds = sorted(ours.keys() & theirs.keys())
    if not any(theirs[one] > 0.0 for one in rounds):
        return None
    above, below = (
        np.maximum([figures[one] for one in rounds], _NOTHING) for figures in (ours, theirs)
    )
    averages = _pairwise_averages(np.log(above / below))
    left_out = _averages_left_out(len(rounds))
    ends = averages[left_out], averages[-1 - left_out]
    return Interval(*(float(np.exp(one)) for one in (np.median(averages), *ends)))


def total_rps(
    samples: Mapping[Key, Sample], scenario: str, policy: str, tasks: Iterable[str]
) -> ByRound:
    """Inferences per second of all tasks together, in the rounds that have them all."""
    by_task = [
        {number: one.throughput_rps for number, one in each.items()}
        for each in _rounds_of(samples, scenario, policy, tasks)
    ]
    return {number: sum(one[number] for one in by_task) for number in _shared(by_task)}


def worst_slowdown(
    samples: Mapping[Key, Sample],
    scenario: str,
    policy: str,
    tasks: Iterable[str],
    quantile: float,
) -> ByRound:
    """Of the task that fares worst against alone, in the rounds that have them all.

    Alone is the same quantile over all rounds, so that its luck is the same for every policy.
    """
    names = list(tasks)
    by_task: list[dict[int, float]] = []
    for name, each in zip(names, _rounds_of(samples, scenario, policy, names), strict=True):
        alone = samples.get((scenario, ALONE, name))
        alone_s = _quantile_s(alone, quantile) if alone is not None else None
        slowdowns = {}
        for number, one in each.items():
            own_s = _quantile_s(one, quantile)
            if own_s is not None and alone_s is not None:
                slowdowns[number] = own_s / alone_s
        by_task.append(slowdowns)
    return {number: max(one[number] for one in by_task) for number in _shared(by_task)}


def _rounds_of(
    samples: Mapping[Key, Sample], scenario: str, policy: str, tasks: Iterable[str]
) -> list[Mapping[int, Sample]]:
    found = [samples.get((scenario, policy, task)) for task in tasks]
    return [one.by_round() if one is not None else {} for one in found]


def _shared(by_task: list[dict[int, float]]) -> set[int]:
    return reduce(set.intersection, map(set, by_task)) if by_task else set()


def _quantile_s(sample: Sample, quantile: float) -> float | None:
    latencies_s = sample.latencies_s()
    return float(np.quantile(np.concatenate(latencies_s), quantile)) if latencies_s else None


def _pairwise_averages(values: Samples) -> Samples:
    """In order; each value with itself as well. Shape [n (n + 1) / 2]."""
    first, second = np.triu_indices(values.size)
    averages: Samples = np.sort((values[first] + values[second]) / 2.0)
    return averages


def _averages_left_out(rounds: int) -> int:
    """How many pairwise averages lie outside at either end.

    The middle lies under all but k of them with the chance that a sum of signed ranks is k or
    less: each of the ranks 1 to n belongs to it or not, with the toss of a coin.
    """
    chances = np.ones(1)
    for rank in range(1, rounds + 1):
        without, with_it = np.pad(chances, (0, rank)), np.pad(chances, (rank, 0))
        chances = (without + with_it) / 2.0
    unlikely = int(np.searchsorted(np.cumsum(chances), _TAIL, side="right"))
    return max(0, unlikely - 1)
