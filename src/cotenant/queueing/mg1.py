"""Poisson streams go in; sojourns at one server, first come first served, come out."""

from collections.abc import Sequence

import numpy as np

from cotenant.queueing.inversion import Complex, Transform
from cotenant.queueing.law import Law, Part, total
from cotenant.queueing.service import Service, from_moments, mixture
from cotenant.queueing.stream import Answer, Sojourn, Stream, Unstable, overload

_ROUNDS = 200
"""Of the busy-period recursion at most; each is accelerated, so that a dozen is usual."""


def aggregate(streams: Sequence[Stream]) -> Stream:
    """All streams as one: rates add, and services mix in proportion to the rates.

    lambda = sum lambda_i, E[S^n] = sum (lambda_i / lambda) E[S_i^n].
    Assumes that arrivals are independent Poisson processes, whose merger is Poisson.

    >>> from cotenant.queueing.service import deterministic, exponential
    >>> both = aggregate([Stream("a", 1.0, deterministic(0.1)), Stream("b", 3.0, exponential(0.1))])
    >>> both.rate_rps, round(both.service.second_moment_s2, 6)
    (4.0, 0.0175)
    """
    if len(streams) == 1:
        return streams[0]
    rate_rps = sum(stream.rate_rps for stream in streams)
    service = mixture([(stream.rate_rps, stream.service) for stream in streams])
    return Stream("+".join(stream.name for stream in streams), rate_rps, service)


def folded(streams: Sequence[Stream]) -> Stream:
    """All streams as one whose service is the gamma law with the first two moments of the mix.

    Means stay exact wherever only two moments count; tails become an approximation. Its
    transform costs as much as that of one stream: fold what one stream meets, to predict many.

    >>> from cotenant.queueing.service import exponential
    >>> one = folded([Stream("a", 1.0, exponential(0.1)), Stream("b", 1.0, exponential(0.3))])
    >>> round(one.service.mean_s, 6), round(one.service.second_moment_s2, 6)
    (0.2, 0.1)
    """
    merged = aggregate(streams)
    service = from_moments(merged.service.mean_s, merged.service.second_moment_s2)
    return Stream(merged.name, merged.rate_rps, service)


def mean_waiting_s(rate_rps: float, service: Service) -> float:
    """Mean waiting time, in seconds: W = lambda E[S^2] / (2 (1 - rho)), rho < 1.

    Source: Pollaczek (1930), Khinchine (1932); Kleinrock, Queueing Systems I (1975), 5.62.

    >>> from cotenant.queueing.service import deterministic, exponential
    >>> round(mean_waiting_s(0.5, exponential(1.0)), 6)  # M/M/1: rho / (mu (1 - rho))
    1.0
    >>> mean_waiting_s(0.5, deterministic(1.0))
    0.5
    """
    return rate_rps * service.second_moment_s2 / (2.0 * (1.0 - rate_rps * service.mean_s))


def waiting_law(rate_rps: float, service: Service) -> Law:
    """Law of the waiting time; rho < 1.

    E[exp(-sW)] = (1 - rho) / (1 - rho r(s)), r(s) = (1 - b(s)) / (s E[S]), the residual
    service. P(W = 0) = 1 - rho. Exact. Source: Kleinrock I (1975), 5.105.

    >>> from cotenant.queueing.service import exponential
    >>> law = waiting_law(0.5, exponential(1.0))
    >>> round(float(law.tail(2.0)[0]), 7)  # M/M/1: rho exp(-(mu - lambda) t)
    0.1839397
    """
    load = rate_rps * service.mean_s

    def excess(s: Complex) -> Complex:
        residual = (1.0 - service.law.transform(s)) / (s * service.mean_s)
        return (1.0 - load) / (1.0 - load * residual)

    return Law((Part(1.0, 0.0, 1.0 - load, mean_waiting_s(rate_rps, service), excess),))


def fcfs(streams: Sequence[Stream]) -> tuple[Answer, ...]:
    """Sojourn of each stream: the common waiting time plus its own service, independent.

    Exact for Poisson arrivals, whatever the services.

    >>> from cotenant.queueing.service import exponential
    >>> [lone] = fcfs([Stream("a", 0.5, exponential(1.0))])
    >>> round(lone.mean_s, 6), round(lone.quantile_s(0.99), 5)  # exponential, mean 2
    (2.0, 9.21034)
    """
    unstable = overload(streams)
    if unstable is not None:
        return (unstable,) * len(streams)
    merged = aggregate(streams)
    waiting = waiting_law(merged.rate_rps, merged.service)
    return tuple(
        Sojourn(
            waiting.mean_s + stream.service.mean_s,
            waiting.mean_s,
            merged.load,
            total([waiting, stream.service.law]),
        )
        for stream in streams
    )


def busy_period(stream: Stream) -> Service | Unstable:
    """The time from an arrival at an idle server until it is idle again, with its law.

    E[B] = E[S] / (1 - rho), E[B^2] = E[S^2] / (1 - rho)^3. Exact.
    Source: Kleinrock I (1975), 5.137, 5.141, 5.142.

    >>> from cotenant.queueing.service import exponential
    >>> busy = busy_period(Stream("a", 0.5, exponential(1.0)))
    >>> round(busy.mean_s, 6), round(busy.second_moment_s2, 6)
    (2.0, 16.0)
    """
    unstable = overload([stream])
    if unstable is not None:
        return unstable
    service, idle = stream.service, 1.0 - stream.load
    transform = busy_transform(stream.rate_rps, service.law.transform)
    mean_s = service.mean_s / idle
    floor_s = min(part.floor_s for part in service.law.parts)
    # A busy period is as short as the shortest service only if nothing arrives during it.
    atom = float(np.exp(-stream.rate_rps * floor_s)) * sum(
        part.weight * part.atom for part in service.law.parts if part.floor_s == floor_s
    )
    part = Part(1.0, floor_s, atom, mean_s - floor_s, lambda s: np.exp(floor_s * s) * transform(s))
    return Service(mean_s, service.second_moment_s2 / idle**3, Law((part,)))


def busy_transform(rate_rps: float, service: Transform) -> Transform:
    """Transform of the busy period: the root of eta = b(s + lambda - lambda eta), |eta| <= 1.

    Found by iterating the equation from 0 with Aitken's extrapolation. Exact.
    Source: Takacs (1955); Kleinrock I (1975), 5.137.

    >>> eta = busy_transform(0.5, lambda s: 1 / (1 + s))
    >>> s = 1.0  # M/M/1: (l + m + s - sqrt((l + m + s)^2 - 4 l m)) / (2 l)
    >>> bool(abs(eta(np.array([s + 0j]))[0] - (2.5 - (2.5**2 - 2.0) ** 0.5)) < 1e-9)
    True
    """

    def transform(s: Complex) -> Complex:
        value: Complex = np.zeros_like(s)
        for _ in range(_ROUNDS):
            once = service(s + rate_rps * (1.0 - value))
            twice = service(s + rate_rps * (1.0 - once))
            if np.max(np.abs(twice - once), initial=0.0) < 1e-13:
                return twice
            bend = twice - 2.0 * once + value
            safe = np.where(np.abs(bend) > 1e-14, bend, 1.0)
            leap = value - (once - value) ** 2 / safe
            # A leap out of the unit disc cannot be the root: take the plain steps there.
            value = np.where((np.abs(bend) > 1e-14) & (np.abs(leap) <= 1.0), leap, twice)
        return value

    return transform
