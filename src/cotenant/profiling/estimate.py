"""Service times by round go in; a robust mean, its interval and a pooled sample come out.

The estimator is the median of means: each round's mean is one observation, and a round in
which the machine was busy with something else moves the median little. All samples of a round
are then scaled to that median, so that drift between rounds does not pass for spread.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]

_RESAMPLES = 400
STALL = 3.0
"""Times the median; past that the machine stood still, and it was not the service that was long."""


def without_stalls(times: Times) -> Times:
    """What took less than a few times the median.

    >>> without_stalls(np.array([1.0, 1.2, 30.0]))
    array([1. , 1.2])
    """
    return times[times <= STALL * np.median(times)]


def median_of_means(rounds: Sequence[Times]) -> float:
    """Median of the rounds' means, in seconds.

    >>> median_of_means([np.array([1.0, 3.0]), np.array([2.0]), np.array([9.0])])
    2.0
    """
    return float(np.median([one.mean() for one in rounds]))


def relative_error(rounds: Sequence[Times], rng: np.random.Generator) -> float:
    """Half the 95 % bootstrap interval of the median of means, over that median.

    Infinite for fewer than three rounds: they say nothing about how rounds differ.
    """
    if len(rounds) < 3:
        return float("inf")
    means = np.array([one.mean() for one in rounds])
    picked = rng.integers(0, means.size, (_RESAMPLES, means.size))
    low, high = np.quantile(np.median(means[picked], axis=1), (0.025, 0.975))
    return float((high - low) / 2.0 / np.median(means))


def pooled(rounds: Sequence[Times]) -> Times:
    """All samples, each round scaled to the median of means; their mean is that median.

    >>> pooled([np.array([1.0, 3.0]), np.array([4.0]), np.array([2.0])]).mean()
    np.float64(2.0)
    """
    centre_s = median_of_means(rounds)
    return np.concatenate([one * (centre_s / one.mean()) for one in rounds])
