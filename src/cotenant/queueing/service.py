"""Moments, samples or a named shape go in; a `Service`, the law of a service time, comes out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cotenant.core.errors import WorkloadError
from cotenant.queueing.inversion import Complex, Real
from cotenant.queueing.law import Law, Part, discrete, mixed

_SMALLEST_SCV = 1e-9
"""Below this, two equal moments differ by round-off only, and the time is deterministic."""
_GROUPS = 32
"""Equal shares that samples are grouped into, and as many again for the slowest ones."""


@dataclass(frozen=True)
class Service:
    """How long one request occupies the server when nothing else is there."""

    mean_s: float
    second_moment_s2: float
    law: Law

    def __post_init__(self) -> None:
        _require_moments(self.mean_s, self.second_moment_s2)

    @property
    def scv(self) -> float:
        """Squared coefficient of variation: variance over squared mean."""
        return max(0.0, self.second_moment_s2 / self.mean_s**2 - 1.0)

    def quantile_s(self, quantile: float) -> float:
        return self.law.quantile_s(quantile)

    def scaled(self, factor: float) -> "Service":
        """The same law, slowed down by `factor`, as interference does.

        >>> deterministic(0.01).scaled(1.5).quantile_s(0.99)
        0.015
        """

        def slowed(part: Part) -> Part:
            return Part(
                part.weight,
                factor * part.floor_s,
                part.atom,
                factor * part.excess_mean_s,
                lambda s: part.excess(factor * s),
            )

        return Service(
            factor * self.mean_s,
            factor**2 * self.second_moment_s2,
            Law(tuple(slowed(part) for part in self.law.parts)),
        )

    def longer(self, more_s: float) -> "Service":
        """The same law with a constant time more.

        >>> deterministic(0.01).longer(0.002).quantile_s(0.99)
        0.012
        """
        return Service(
            self.mean_s + more_s,
            self.second_moment_s2 + 2.0 * more_s * self.mean_s + more_s**2,
            Law(tuple(part._replace(floor_s=part.floor_s + more_s) for part in self.law.parts)),
        )


def deterministic(time_s: float) -> Service:
    """Always the same time.

    >>> deterministic(0.02).scv
    0.0
    """
    _require_moments(time_s, time_s**2)
    return Service(time_s, time_s**2, discrete(np.array([time_s]), np.ones(1)))


def exponential(mean_s: float) -> Service:
    """Memoryless: P(S > t) = exp(-t / mean), E[S^2] = 2 mean^2.

    >>> round(exponential(0.02).quantile_s(0.5), 6)  # 0.02 ln 2
    0.013863
    """
    return gamma(mean_s, 1.0)


def gamma(mean_s: float, scv: float) -> Service:
    """Gamma with the given mean and squared coefficient of variation c.

    E[exp(-sS)] = (1 + s mean c)^(-1/c); Erlang for 1/c whole, deterministic for c = 0.

    >>> gamma(2.0, 0.5).second_moment_s2
    6.0
    """
    if not (math.isfinite(scv) and scv >= 0.0):
        raise WorkloadError(
            f"a squared coefficient of variation of {scv} is impossible; give a finite one >= 0"
        )
    if scv < _SMALLEST_SCV:
        return deterministic(mean_s)
    second_moment_s2 = (1.0 + scv) * mean_s**2
    _require_moments(mean_s, second_moment_s2)

    def excess(s: Complex) -> Complex:
        return (1.0 + s * mean_s * scv) ** (-1.0 / scv)

    return Service(mean_s, second_moment_s2, Law((Part(1.0, 0.0, 0.0, mean_s, excess),)))


def from_moments(mean_s: float, second_moment_s2: float) -> Service:
    """The gamma law with these two moments; means of M/G/1 are exact then, tails an approximation.

    >>> from_moments(1.0, 0.9)
    Traceback (most recent call last):
    cotenant.core.errors.WorkloadError: second moment 0.9 s^2 is under the square of the mean \
1 s; no time has such moments: measure the profile again
    """
    _require_moments(mean_s, second_moment_s2)
    return gamma(mean_s, max(0.0, second_moment_s2 / mean_s**2 - 1.0))


def from_samples(samples_s: npt.ArrayLike) -> Service:
    """The empirical law of measured service times.

    Both moments are those of all samples. For the tail, samples are grouped by rank, finely
    at the slow end, and each group stands at its mean.

    >>> service = from_samples([0.01, 0.01, 0.01, 0.05])
    >>> round(service.mean_s, 6), service.quantile_s(0.5), service.quantile_s(0.99)
    (0.02, 0.01, 0.05)
    """
    samples = np.sort(np.asarray(samples_s, dtype=np.float64).ravel())
    if samples.size == 0 or not np.all(np.isfinite(samples)) or samples[0] <= 0.0:
        raise WorkloadError(
            "service times must be at least one finite time over 0 s; measure the profile again"
        )
    values, weights = _grouped(samples)
    mean_s, second_moment_s2 = float(samples.mean()), float(np.mean(samples**2))
    return Service(mean_s, second_moment_s2, discrete(values, weights))


def mixture(weighted: Sequence[tuple[float, Service]]) -> Service:
    """Each service with its chance, as a class of several models has; chances are normalised.

    E[S] = sum p_i E[S_i] and E[S^2] = sum p_i E[S_i^2].

    >>> mixture([(1, deterministic(1.0)), (3, deterministic(2.0))]).mean_s
    1.75
    """
    whole = sum(weight for weight, _ in weighted)
    if not (whole > 0.0 and all(weight >= 0.0 for weight, _ in weighted)):
        raise WorkloadError("weights of a mixture must be >= 0 and not all 0; check the rates")
    shares = [(weight / whole, service) for weight, service in weighted]
    return Service(
        sum(share * service.mean_s for share, service in shares),
        sum(share * service.second_moment_s2 for share, service in shares),
        mixed([(share, service.law) for share, service in shares]),
    )


def _grouped(samples: Real) -> tuple[Real, Real]:
    values, counts = np.unique(samples, return_counts=True)
    if values.size > 2 * _GROUPS:
        body = np.linspace(0, samples.size, _GROUPS + 1)
        slow_end = samples.size - np.geomspace(1, samples.size, _GROUPS)
        edges = np.unique(np.concatenate([body, slow_end]).astype(np.int64))
        counts = np.diff(edges)
        values = np.add.reduceat(samples, edges[:-1]) / counts
    return values, counts / samples.size


def _require_moments(mean_s: float, second_moment_s2: float) -> None:
    if not (math.isfinite(mean_s) and mean_s > 0.0):
        raise WorkloadError(
            f"a mean service time of {mean_s} s is impossible; give a finite one over 0 s"
        )
    if not (math.isfinite(second_moment_s2) and second_moment_s2 >= mean_s**2 * (1.0 - 1e-9)):
        raise WorkloadError(
            f"second moment {second_moment_s2:g} s^2 is under the square of the mean "
            f"{mean_s:g} s; no time has such moments: measure the profile again"
        )
