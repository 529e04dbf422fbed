"""Poisson streams in order of priority, highest first, go in; sojourns at one server come out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cotenant.queueing.inversion import Complex, Transform
from cotenant.queueing.law import Law, Part, total
from cotenant.queueing.mg1 import aggregate, busy_transform
from cotenant.queueing.service import Service
from cotenant.queueing.stream import Answer, Sojourn, Stream, overload, require_streams


def nonpreemptive(streams: Sequence[Stream]) -> tuple[Answer, ...]:
    """Each stream is a class; the running request ends first, then the highest class goes on.

    W_k = sum_i lambda_i E[S_i^2] / (2 (1 - sigma_{k-1}) (1 - sigma_k)), sigma_k = sum_{i<=k} rho_i
    (Cobham 1954). Law: E[exp(-sW_k)] = X(z), z = s + L - L eta(s), with L and eta the rate and
    busy period of the higher classes, and X(z) = [(1-rho) z + sum_{i>k} lambda_i (1 - b_i(z))] /
    (z - sum_{i<=k} lambda_i (1 - b_i(z))) (Kesten and Runnenburg 1957). Exact.

    A class that the load saturates always has a request waiting, takes all time that the
    classes above leave, and is answered `Unstable` with those below it; the classes above
    stay stable and meet it at the rate (1 - sigma) / E[S] at which it is served.

    >>> from cotenant.queueing.service import exponential
    >>> high, low = nonpreemptive([Stream(n, 0.25, exponential(1.0)) for n in "ab"])
    >>> round(high.waiting_s, 6), round(low.waiting_s, 6)
    (0.666667, 1.333333)
    """
    unstable = overload(streams)
    given = len(streams)
    if unstable is not None:
        streams = _saturated(streams)
    work_s = sum(stream.rate_rps * stream.service.second_moment_s2 for stream in streams) / 2.0
    idle = 0.0 if unstable else 1.0 - sum(stream.load for stream in streams)
    answers: list[Answer] = []
    above = 0.0
    for rank, stream in enumerate(streams[:-1] if unstable else streams):
        reach = above + stream.load
        waiting_s = work_s / ((1.0 - above) * (1.0 - reach))
        clock = _stretched(streams[:rank])
        found = _work_found(streams[: rank + 1], streams[rank + 1 :], idle)

        def excess(s: Complex, clock: Transform = clock, found: Transform = found) -> Complex:
            return found(clock(s))

        waiting = Law((Part(1.0, 0.0, idle, waiting_s, excess),))
        mean_s = waiting_s + stream.service.mean_s
        law = total([waiting, stream.service.law])
        answers.append(Sojourn(mean_s, waiting_s, 1.0 - idle, law))
        above = reach
    if unstable is not None:
        answers += [unstable] * (given - len(answers))
    return tuple(answers)


def preemptive(streams: Sequence[Stream]) -> tuple[Answer, ...]:
    """Each stream is a class; a higher one interrupts at once, and work is resumed, not lost.

    E[T_k] = E[S_k] / (1 - sigma_{k-1}) + sum_{i<=k} lambda_i E[S_i^2] /
    (2 (1 - sigma_{k-1}) (1 - sigma_k)). Law: E[exp(-sT_k)] = V(z) b_k(z), z = s + L - L eta(s),
    V the Pollaczek-Khinchine transform of classes 1 to k. Exact; classes below k are not felt,
    so each class is stable as long as the load down to its own is under 1.
    Source: Conway, Maxwell and Miller, Theory of Scheduling (1967), 8-7; Takagi (1991).

    >>> from cotenant.queueing.service import exponential
    >>> high, low = preemptive([Stream(n, 0.25, exponential(1.0)) for n in "ab"])
    >>> round(high.mean_s, 6), round(low.mean_s, 6)
    (1.333333, 2.666667)
    """
    require_streams(streams)
    answers: list[Answer] = []
    for rank, stream in enumerate(streams):
        felt = streams[: rank + 1]
        unstable = overload(felt)
        if unstable is not None:
            answers.append(unstable)
            continue
        above = sum(higher.load for higher in streams[:rank])
        reach = above + stream.load
        work_s = sum(one.rate_rps * one.service.second_moment_s2 for one in felt) / 2.0
        waiting_s = work_s / ((1.0 - above) * (1.0 - reach))
        clock = _stretched(streams[:rank])
        found = _work_found(felt, (), 1.0 - reach)

        def excess(s: Complex, clock: Transform = clock, found: Transform = found) -> Complex:
            return found(clock(s))

        waiting = Law((Part(1.0, 0.0, 1.0 - reach, waiting_s, excess),))
        law = total([waiting, completion_law(stream.service, streams[:rank])])
        mean_s = waiting_s + stream.service.mean_s / (1.0 - above)
        answers.append(Sojourn(mean_s, mean_s - stream.service.mean_s, reach, law))
    return tuple(answers)


def completion_law(service: Service, higher: Sequence[Stream]) -> Law:
    """Law of the time from a first start to the end, interruptions by `higher` included.

    E[exp(-sC)] = b(s + L - L eta(s)), E[C] = E[S] / (1 - rho_higher); rho_higher < 1. Exact.
    Source: Gaver (1962), preemptive-resume completion time.

    >>> from cotenant.queueing.service import exponential
    >>> law = completion_law(exponential(1.0), [Stream("a", 0.5, exponential(1.0))])
    >>> round(law.mean_s, 6)
    2.0
    """
    clock = _stretched(higher)
    rate_rps = sum(stream.rate_rps for stream in higher)
    slack = 1.0 - sum(stream.load for stream in higher)

    def interrupted(part: Part) -> Part:
        def excess(s: Complex) -> Complex:
            stretched = clock(s)
            return np.exp(-part.floor_s * (stretched - s)) * part.excess(stretched)

        return Part(
            part.weight,
            part.floor_s,
            part.atom * float(np.exp(-rate_rps * part.floor_s)),
            (part.floor_s + part.excess_mean_s) / slack - part.floor_s,
            excess,
        )

    return Law(tuple(interrupted(part) for part in service.law.parts))


def _stretched(higher: Sequence[Stream]) -> Transform:
    """z(s) = s + L - L eta(s): time as a class sees it whose work the higher ones interrupt."""
    if not higher:
        return lambda s: s
    merged = aggregate(higher)
    eta = busy_transform(merged.rate_rps, merged.service.law.transform)
    return lambda s: s + merged.rate_rps * (1.0 - eta(s))


def _saturated(streams: Sequence[Stream]) -> Sequence[Stream]:
    """The streams down to the first that the load saturates, it at the rate it is served at."""
    above = 0.0
    for rank, stream in enumerate(streams):
        if above + stream.load >= 1.0:
            served_rps = (1.0 - above) / stream.service.mean_s
            return (*streams[:rank], replace(stream, rate_rps=served_rps))
        above += stream.load
    return streams


def _work_found(served: Sequence[Stream], behind: Sequence[Stream], idle: float) -> Transform:
    """Transform of the work that an arrival waits for: of `served`, and a start of `behind`."""

    def transform(z: Complex) -> Complex:
        def brought(streams: Sequence[Stream]) -> Complex:
            sums: Complex = np.zeros_like(z)
            for stream in streams:
                sums = sums + stream.rate_rps * (1.0 - stream.service.law.transform(z))
            return sums

        return (idle * z + brought(behind)) / (z - brought(served))

    return transform
