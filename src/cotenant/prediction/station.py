"""The tasks of one component go in; how long each stays, and by which closed form, comes out.

Each policy is the queueing model that it amounts to:

| policy | model |
| --- | --- |
| cotenant, preemptive | critical: preemptive-resume by priority, first come first served among \
equals; best-effort: what is left, shared |
| cotenant, gated; priority-queue | non-preemptive priority |
| sequential | first come first served |
| concurrent | processor sharing |
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from cotenant.core.errors import Unsupported
from cotenant.core.task import ClosedLoop, Periodic
from cotenant.prediction.tenancy import Tenancy
from cotenant.queueing import lindley, mg1, periodic, priority, sharing
from cotenant.queueing.inversion import Complex
from cotenant.queueing.law import Law, Part, total
from cotenant.queueing.service import from_moments
from cotenant.queueing.stream import Answer, Pattern, Sojourn, Stream, overload

_FEW = 3
"""Streams whose services are mixed as they are; of more, the mix is known by two moments."""

_MANY = 8
"""Periodic streams beyond which sampling their phases costs more than it tells."""


class Stay(NamedTuple):
    """One task's answer."""

    answer: Answer
    method: str
    exact: bool
    """The closed form holds without a further assumption."""
    throughput_rps: float | None = None
    """Of a closed loop; that of open arrivals is their rate."""
    dropped: float | None = None
    """Share of the requests without a result, where it was counted."""


Station = Callable[[Sequence[Tenancy], np.random.Generator], dict[str, Stay]]


def station(policy: str, preemptive: bool) -> Station:
    """The queueing model of a component under a policy."""
    if policy == "sequential":
        return _sequential
    if policy == "concurrent":
        return _concurrent
    if policy == "priority-queue":
        return _nonpreemptive_by_priority
    return _preemptive if preemptive else _gated


def _sequential(here: Sequence[Tenancy], rng: np.random.Generator) -> dict[str, Stay]:
    return _fcfs(_open(here, "sequential"), rng)


def _concurrent(here: Sequence[Tenancy], rng: np.random.Generator) -> dict[str, Stay]:
    streams = _open(here, "concurrent")
    answers = _shared(streams)
    return _named(streams, answers, "M/G/1 processor sharing", exact=False)


def _nonpreemptive_by_priority(
    here: Sequence[Tenancy], rng: np.random.Generator
) -> dict[str, Stay]:
    return _nonpreemptive(here, lambda one: (not one.task.critical, -one.task.priority))


def _gated(here: Sequence[Tenancy], rng: np.random.Generator) -> dict[str, Stay]:
    # Among best-effort tasks priority is a share, not an order.
    return _nonpreemptive(
        here, lambda one: (not one.task.critical, -one.task.priority if one.task.critical else 0)
    )


def _nonpreemptive(
    here: Sequence[Tenancy], rank: Callable[[Tenancy], tuple[bool, int]]
) -> dict[str, Stay]:
    classes = [tuple(group) for _, group in groupby(sorted(here, key=rank), rank)]
    streams = [_class(members) for members in classes]
    answers = priority.nonpreemptive(streams)
    stays: dict[str, Stay] = {}
    poisson = not any(isinstance(one.task.arrivals, Periodic) for one in here)
    method = "M/G/1 non-preemptive priority" + ("" if poisson else " (periodic taken as Poisson)")
    left = 1.0 - sum(one.load for one in here)
    weight = sum(one.task.priority for one in here if one.rate_rps is None)
    for members, answer, merged in zip(classes, answers, streams, strict=True):
        for one in members:
            if one.rate_rps is None and left > 0.0:
                stays[one.task.name] = _closed(one, left * one.task.priority / weight, 1.0)
                continue
            own = answer
            if isinstance(answer, Sojourn):
                more_s = one.service.mean_s - merged.service.mean_s
                own = answer._replace(mean_s=answer.mean_s + more_s)
            stays[one.task.name] = Stay(own, method, poisson and len(members) == 1)
    return stays


def _class(members: Sequence[Tenancy]) -> Stream:
    loops = [one for one in members if one.rate_rps is None]
    if len(loops) == len(members) and not loops[0].task.critical:
        # A closed loop always has a request waiting: a class that takes all it can get.
        service = loops[0].service
        return Stream(loops[0].task.name, 1.0 / service.mean_s, service)
    return _merged(_open(members, "priority-queue"))


def _preemptive(here: Sequence[Tenancy], rng: np.random.Generator) -> dict[str, Stay]:
    critical = sorted(
        (one for one in here if one.task.critical), key=lambda one: -one.task.priority
    )
    stays: dict[str, Stay] = {}
    above: list[Stream] = []
    for _, group in groupby(critical, lambda one: one.task.priority):
        streams = _open(tuple(group), "cotenant")
        stays |= _interrupted(streams, above, rng)
        above += streams
    rest = [one for one in here if not one.task.critical]
    return stays | (_best_effort(rest, above, rng) if rest else {})


def _best_effort(
    rest: Sequence[Tenancy], above: list[Stream], rng: np.random.Generator
) -> dict[str, Stay]:
    taken = sum(one.load for one in above)
    loops = [one for one in rest if one.rate_rps is None]
    streams = [one.stream for one in rest if one.rate_rps is not None]
    unstable = overload([*above, *streams]) if above or streams else None
    if unstable is not None:
        return {one.task.name: Stay(unstable, "load over capacity", True, 0.0) for one in rest}
    stays: dict[str, Stay] = {}
    if len(streams) == 1 and not loops:
        stays |= _interrupted(streams, above, rng)
    elif streams:
        left = 1.0 - taken
        # Beside a closed loop there is always company: half of what is left.
        stretched = [_scaled(one, (2.0 if loops else 1.0) / left) for one in streams]
        answers = [mg1.fcfs([one])[0] for one in stretched] if loops else _shared(stretched)
        stays |= _named(stretched, answers, "processor sharing of what is left", exact=False)
    left = 1.0 - taken - sum(one.load for one in streams)
    weight = sum(one.task.priority for one in loops)
    for loop in loops:
        share = left * loop.task.priority / weight
        stays[loop.task.name] = _closed(loop, share, taken + left)
    return stays


def _closed(loop: Tenancy, share: float, utilization: float) -> Stay:
    """A closed loop that always has work: its share of the time, by Little's law its sojourn."""
    arrivals = loop.task.arrivals
    clients, think_s = (
        (arrivals.clients, arrivals.think_s) if isinstance(arrivals, ClosedLoop) else (1, 0.0)
    )
    # No more than its clients can ask for.
    rate_rps = min(share / loop.service.mean_s, clients / (think_s + loop.service.mean_s / share))
    mean_s = clients / rate_rps - think_s
    answer = Sojourn(mean_s, mean_s - loop.service.mean_s, utilization, None)
    return Stay(answer, "closed loop on what is left (Little's law)", False, rate_rps)


def _fcfs(streams: Sequence[Stream], rng: np.random.Generator) -> dict[str, Stay]:
    if all(one.pattern is Pattern.POISSON for one in streams):
        return _below(streams, [], "M/G/1 first come first served")
    if len(streams) == 1:
        return _named(streams, [periodic.alone(streams[0])], "D/G/1", exact=True)
    if len(streams) > _MANY:
        # The arrivals of many streams together look Poisson.
        return _below(streams, [], "M/G/1 first come first served (periodic as Poisson)", False)
    answers = lindley.fcfs(streams, rng)
    return _named(streams, answers, "Lindley's recursion, sampled", exact=True)


def _interrupted(
    streams: Sequence[Stream], above: Sequence[Stream], rng: np.random.Generator
) -> dict[str, Stay]:
    """Equals, first come first served, interrupted by all that is above them."""
    if not above:
        return _fcfs(streams, rng)
    exact = all(one.pattern is Pattern.POISSON for one in (*streams, *above))
    method = "M/G/1 preemptive-resume" + ("" if exact else " (periodic taken as Poisson)")
    return _below(streams, above, method, exact)


def _below(
    streams: Sequence[Stream], above: Sequence[Stream], method: str, exact: bool = True
) -> dict[str, Stay]:
    """The work found is that of all classes down to this one; those above stretch all time."""
    felt = [*above, *streams]
    unstable = overload(felt)
    if unstable is not None:
        return _named(streams, [unstable] * len(streams), method, exact)
    merged = _merged(felt)
    higher = [_merged(above)] if above else []
    taken = sum(one.load for one in higher)
    found = mg1.waiting_law(merged.rate_rps, merged.service).transform

    def excess(s: Complex) -> Complex:
        if not higher:
            return found(s)
        eta = mg1.busy_transform(higher[0].rate_rps, higher[0].service.law.transform)
        return found(s + higher[0].rate_rps * (1.0 - eta(s)))

    waiting_s = mg1.mean_waiting_s(merged.rate_rps, merged.service) / (1.0 - taken)
    waiting = Law((Part(1.0, 0.0, 1.0 - merged.load, waiting_s, excess),))
    stays = {}
    for one in streams:
        law = total([waiting, priority.completion_law(one.service, higher)])
        mean_s = waiting_s + one.service.mean_s / (1.0 - taken)
        answer = Sojourn(mean_s, mean_s - one.service.mean_s, merged.load, law)
        stays[one.name] = Stay(answer, method, exact)
    return stays


def _shared(streams: Sequence[Stream]) -> Sequence[Answer]:
    """Processor sharing; of many streams, each sojourn is the gamma law with its two moments."""
    unstable = overload(streams)
    if unstable is not None:
        return [unstable] * len(streams)
    if len(streams) <= _FEW:
        return sharing.processor_sharing(streams)
    merged = mg1.folded(streams)
    slack = 1.0 - merged.load
    need_s = np.array([one.service.mean_s for one in streams])
    _, delay_variance_s2 = sharing.delay_moments(need_s, merged)
    answers = []
    for one, variance_s2 in zip(streams, delay_variance_s2, strict=True):
        mean_s = one.service.mean_s / slack
        own_s2 = one.service.scv * one.service.mean_s**2 / slack**2
        stay = from_moments(mean_s, mean_s**2 + own_s2 + float(variance_s2))
        answers.append(Sojourn(mean_s, mean_s - one.service.mean_s, merged.load, stay.law))
    return answers


def _merged(streams: Sequence[Stream]) -> Stream:
    """One stream for all: exact for a few; of many, two moments of the mix say enough."""
    return mg1.aggregate(streams) if len(streams) <= _FEW else mg1.folded(streams)


def _open(here: Sequence[Tenancy], policy: str) -> list[Stream]:
    for one in here:
        if one.rate_rps is None:
            raise Unsupported(
                f"task {one.task.name!r} is closed-loop; there is no closed form for that under "
                f"policy {policy!r} in its place: give it a rate, or simulate the workload"
            )
    return [one.stream for one in here]


def _named(
    streams: Sequence[Stream], answers: Sequence[Answer], method: str, exact: bool
) -> dict[str, Stay]:
    return {
        one.name: Stay(answer, method, exact) for one, answer in zip(streams, answers, strict=True)
    }


def _scaled(stream: Stream, factor: float) -> Stream:
    return replace(stream, service=stream.service.scaled(factor))
