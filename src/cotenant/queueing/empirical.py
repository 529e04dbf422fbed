"""Observed times go in; their own distribution, with the questions that a `Law` answers, comes out.

What was simulated or measured needs no transform: its quantiles are those of the sorted times.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cotenant.core.errors import WorkloadError
from cotenant.queueing.inversion import Real


@dataclass(frozen=True)
class Empirical:
    """Times that were seen, in rising order."""

    times_s: Real  # [observation]

    @property
    def mean_s(self) -> float:
        return float(self.times_s.mean())

    def tail(self, time_s: npt.ArrayLike) -> Real:
        """P(X > t) at each time.

        >>> empirical([0.1, 0.2, 0.3, 0.4]).tail(0.2).tolist()
        [0.5]
        """
        times = np.atleast_1d(np.asarray(time_s, dtype=np.float64))
        within = np.searchsorted(self.times_s, times, side="right")
        return np.asarray(1.0 - within / self.times_s.size)

    def quantile_s(self, quantile: float) -> float:
        """Median-unbiased estimate (Hyndman and Fan 1996, type 8)."""
        return float(np.quantile(self.times_s, quantile, method="median_unbiased"))


def empirical(times_s: npt.ArrayLike) -> Empirical:
    """Sort and keep the times.

    Raises:
        WorkloadError: there is none.
    """
    times = np.sort(np.asarray(times_s, dtype=np.float64).ravel())
    if times.size == 0:
        raise WorkloadError("no time was observed, so nothing can be said; let more requests run")
    return Empirical(times)
