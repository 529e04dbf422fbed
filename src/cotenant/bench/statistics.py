"""Samples by round go in, a figure with its 95 % bootstrap interval comes out.

Rounds are strata: each resample draws, with replacement, as many values from every round
as that round had, so a machine that drifts from round to round does not widen or bend
the interval. (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8
and 13: percentile interval, stratified sampling.)
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]

RESAMPLES = 2000
_COVERAGE = 0.95
_CELLS_AT_ONCE = 4_000_000  # numbers held in memory by one block of resamples


class Interval(NamedTuple):
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def quantile_ratio(
    mixed: Sequence[Samples],
    alone: Sequence[Samples],
    quantile: float,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """Quantile of `mixed` over the same quantile of `alone`, each pooled over its rounds."""
    value = _quantile(mixed, quantile) / _quantile(alone, quantile)
    spread = resampled_quantiles(mixed, quantile, rng, resamples) / resampled_quantiles(
        alone, quantile, rng, resamples
    )
    return percentile_interval(value, spread)


def quantile_difference(
    longer: Sequence[Samples],
    shorter: Sequence[Samples],
    quantile: float,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """Quantile of `longer` less the same quantile of `shorter`, each pooled over its rounds."""
    value = _quantile(longer, quantile) - _quantile(shorter, quantile)
    spread = resampled_quantiles(longer, quantile, rng, resamples) - resampled_quantiles(
        shorter, quantile, rng, resamples
    )
    return percentile_interval(value, spread)


def resampled_quantiles(
    rounds: Sequence[Samples], quantile: float, rng: np.random.Generator, resamples: int
) -> Samples:
    """The quantile of each resample; shape [resamples]."""
    return np.concatenate(
        [np.quantile(block, quantile, axis=1) for block in _resampled(rounds, rng, resamples)]
    )


def resampled_means(rounds: Sequence[Samples], rng: np.random.Generator, resamples: int) -> Samples:
    """The mean of each resample; shape [resamples]."""
    return np.concatenate([block.mean(axis=1) for block in _resampled(rounds, rng, resamples)])


def percentile_interval(value: float, spread: Samples) -> Interval:
    """The middle 95 % of the resampled figures."""
    tail = (1.0 - _COVERAGE) / 2.0
    low, high = np.quantile(spread, (tail, 1.0 - tail))
    return Interval(float(value), float(low), float(high))


def _quantile(rounds: Sequence[Samples], quantile: float) -> float:
    return float(np.quantile(np.concatenate(rounds), quantile))


def _resampled(
    rounds: Sequence[Samples], rng: np.random.Generator, resamples: int
) -> Iterator[Samples]:
    """Blocks of shape [some resamples, all values]; together they are `resamples` high."""
    width = sum(one.size for one in rounds)
    height = max(1, min(resamples, _CELLS_AT_ONCE // max(1, width)))
    for first in range(0, resamples, height):
        rows = min(height, resamples - first)
        drawn = [one[rng.integers(0, one.size, (rows, one.size))] for one in rounds if one.size]
        yield np.concatenate(drawn, axis=1)
