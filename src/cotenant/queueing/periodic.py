"""Streams with periodic arrivals go in; their waiting and sojourn times come out.

A periodic stream alone waits only for the spread of its own service; several of them wait
for each other only where their phases meet. Mixes of any kind: `lindley.py`.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy

from cotenant.core.errors import WorkloadError
from cotenant.queueing.inversion import Real
from cotenant.queueing.law import Law, discrete, total
from cotenant.queueing.stream import Answer, Sojourn, Stream, Unstable, overload

_LATTICE = 1 << 14
"""Lattice points of the transform; half of them for waiting times."""
_REACH = 30.0
"""Largest waiting time on the lattice, in units of Kingman's bound on the mean: e^-30."""


def alone(stream: Stream) -> Answer:
    """D/G/1: one request every 1/lambda seconds, nothing else on the server.

    Spitzer's identity for the walk X = S - 1/lambda: E[z^W] = exp(sum_{k>0} a_k (z^k - 1)),
    sum_k a_k z^k = -log(1 - E[z^X]) (Spitzer 1956), read off a Fourier transform on the circle
    where E[z^X] is smallest (Ackroyd 1980). Exact but for the lattice: service times are split
    between neighbouring points so that the mean is kept; a service that never exceeds
    the period waits exactly 0.

    >>> from cotenant.queueing.service import deterministic
    >>> alone(Stream("camera", 20.0, deterministic(0.04))).waiting_s
    0.0
    """
    unstable = overload([stream])
    if unstable is not None:
        return unstable
    waiting = _waiting(stream)
    mean_s = waiting.mean_s
    law = total([waiting, stream.service.law])
    return Sojourn(mean_s + stream.service.mean_s, mean_s, stream.load, law)


def same_period(streams: int, period_s: float, service_s: float) -> Answer:
    """N*D/D/1: `streams` periodic streams of one period, phases independent and uniform.

    With n = N - 1 others, period D and waiting x in units of the service time:
    P(W > x) = sum_{x<k<=n} C(n,k) ((k-x)/D)^k (1-(k-x)/D)^(n-k) (D-n+x) / (D-k+x).
    Exact. Source: Eckberg (1979); Roberts and Virtamo (1991), equation 4.

    >>> pair = same_period(2, 1.0, 0.25)  # meets the other one with chance 1/4, waits 1/8 then
    >>> round(pair.waiting_s, 6)
    0.03125
    """
    if streams < 1 or not (0.0 < service_s < math.inf and 0.0 < period_s < math.inf):
        raise WorkloadError(
            f"{streams} streams with a period of {period_s} s and a service of {service_s} s "
            "are impossible; give at least one stream, and times over 0 s"
        )
    load = streams * service_s / period_s
    if load >= 1.0:
        return Unstable(load, f"stream {math.ceil(period_s / service_s)} of {streams}")
    edges = np.linspace(0.0, streams - 1.0, 512 * (streams - 1) + 1)
    beyond = same_period_tail(streams, period_s, service_s, edges * service_s)
    middle: Real = np.append(0.0, (edges[1:] + edges[:-1]) * service_s / 2.0)
    mass = np.append(1.0 - beyond[0], -np.diff(beyond))
    waiting = discrete(middle, mass)
    law = total([waiting, discrete(np.array([service_s]), np.ones(1))])
    return Sojourn(waiting.mean_s + service_s, waiting.mean_s, load, law)


def same_period_tail(streams: int, period_s: float, service_s: float, waiting_s: Real) -> Real:
    """P(W > t) of `same_period` at each t; the load is under 1.

    >>> same_period_tail(2, 1.0, 0.25, np.array([0.0, 0.125, 0.25]))
    array([0.25 , 0.125, 0.   ])
    """
    others = streams - 1
    period = period_s / service_s
    level = waiting_s[:, None] / service_s
    met = np.arange(1, others + 1)
    window = np.maximum(met - level, 0.0) / period
    gammaln = scipy.special.gammaln
    ways = gammaln(others + 1) - gammaln(met + 1) - gammaln(others - met + 1)
    with np.errstate(divide="ignore"):
        chance = np.exp(ways + met * np.log(window) + (others - met) * np.log1p(-window))
    kept = chance * (period - others + level) / (period - met + level)
    tail: Real = np.where(met > level, kept, 0.0).sum(axis=1)
    return tail


def superposed_scv(streams: Sequence[Stream], utilization: float) -> float:
    """Squared coefficient of variation that stands for all arrivals together.

    c^2 = 1 - w + w sum (lambda_i / lambda) c_i^2, w = 1 / (1 + 4 (1 - rho)^2 (v - 1)),
    1/v = sum (lambda_i / lambda)^2: many streams look Poisson, unless the load is heavy.
    An approximation. Source: Whitt, "The queueing network analyzer" (1983), equations 29 to 33.

    >>> from cotenant.queueing.service import deterministic
    >>> from cotenant.queueing.stream import Pattern
    >>> cameras = [Stream(n, 10.0, deterministic(0.01), Pattern.PERIODIC) for n in "ab"]
    >>> superposed_scv(cameras[:1], 0.5), superposed_scv(cameras, 0.5)
    (0.0, 0.5)
    """
    rate_rps = sum(stream.rate_rps for stream in streams)
    shares = [stream.rate_rps / rate_rps for stream in streams]
    spread = 1.0 / sum(share**2 for share in shares)
    weight = 1.0 / (1.0 + 4.0 * (1.0 - utilization) ** 2 * (spread - 1.0))
    own = sum(share * one.arrival_scv for share, one in zip(shares, streams, strict=True))
    return 1.0 - weight + weight * own


def _waiting(stream: Stream) -> Law:
    service, period_s = stream.service, 1.0 / stream.rate_rps
    # Kingman's bound (1962) for periodic arrivals tells how far the lattice must reach.
    bound_s = service.scv * service.mean_s * stream.load / (2.0 * (1.0 - stream.load))
    times, weights = service.law.points(2000)
    reach_s = max(_REACH * bound_s, 2.0 * float(times.max()), 4.0 * period_s)
    period = max(1, int(_LATTICE / 2 * period_s / reach_s))
    step_s = period_s / period
    place = times / step_s
    below = np.minimum(np.floor(place).astype(np.int64), _LATTICE // 2)
    jump = np.bincount(below, weights * (1.0 - (place - below)), _LATTICE)
    jump += np.bincount(below + 1, weights * (place - below), _LATTICE)
    last = int(np.flatnonzero(jump)[-1])
    if last <= period:
        return discrete(np.zeros(1), np.ones(1))
    walk = np.arange(last + 1) - period
    size = jump[: last + 1]
    tilt = float(
        scipy.optimize.minimize_scalar(
            lambda t: float(np.log(np.exp(t * walk - t * last) @ size) + t * last),
            bounds=(0.0, 50.0 / last),
            method="bounded",
            options={"xatol": 1e-6 / last},
        ).x
    )
    tilted = np.zeros(_LATTICE)
    tilted[walk % _LATTICE] = size * np.exp(tilt * walk)
    cepstrum = np.fft.ifft(-np.log(1.0 - np.fft.fft(tilted))).real
    rise = np.zeros(_LATTICE)
    up = np.arange(1, _LATTICE // 2)
    rise[up] = cepstrum[up] * np.exp(-tilt * up)
    mass = np.fft.ifft(np.exp(np.fft.fft(rise) - rise.sum())).real[: _LATTICE // 2]
    mass = np.maximum(mass, 0.0)
    kept = np.flatnonzero(mass > 1e-13)
    return discrete(np.multiply(kept, step_s, dtype=np.float64), mass[kept] / mass[kept].sum())
