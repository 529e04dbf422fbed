"""A workload and its profile go in; each task's load and inflated service time come out.

Interference beyond the sharing of cores (caches, memory bandwidth) stretches a service by
1 + sum over the others of w (c - 1): c is the measured slowdown with what sharing explains
taken out, w the fraction of time in which the other one runs. How long the others run depends
on their own slowdown, so the equations are iterated to their fixed point.

A machine that has just rested is slow (`waking.py`); here each task's service is that after the
rests which it meets on the average.

The server's front runs on the same cores as its lanes, and outranks them. It reads a request when
it comes, at the cost of whatever is served then, and sends an answer before it hands out the next
service, at the cost of whoever waits for that.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cotenant.core.arrivals import mean_rate_rps
from cotenant.core.errors import WorkloadError
from cotenant.core.task import Periodic, Task
from cotenant.core.workload import Workload
from cotenant.prediction.interference import excess_of
from cotenant.prediction.waking import (
    Paces,
    Traffic,
    after_on_average,
    awake_on_average,
    lost_on_average,
)
from cotenant.profiling.profile import LEVELS, OPEN_LOAD, Alone, Profile, ServiceTime, Subject
from cotenant.queueing.law import discrete
from cotenant.queueing.service import Service, deterministic
from cotenant.queueing.stream import Pattern, Stream

_ROUNDS = 8
READING = 0.5
"""Of the front's work for a request, what comes before its service. [D]"""
_READING_MOST = 0.5
"""Of the time, that reading may be taken to need before its figures are past belief."""


class Tenancy(NamedTuple):
    """One task of the mix."""

    task: Task
    component: str | None
    rate_rps: float | None
    """`None` for closed-loop."""
    alone: tuple[Alone, ...]
    """By rising batch size."""
    slowdown: float
    service: Service
    """Of one request beside the others, until its answer has left the cores."""
    front_s: float = 0.0
    """Processor time of the server's front for one request, as far as it is known."""
    answer_s: float = 0.0
    """The part of it that comes after the service."""
    read: float = 1.0
    """How many times longer a service takes because requests that come meanwhile are read."""
    interruption_s: float = 0.0
    """What it loses each time that critical work takes its cores."""
    around_s: float = 0.0
    """Outside of queue and service."""

    @property
    def stream(self) -> Stream:
        """Its open arrivals; a closed loop has none."""
        if self.rate_rps is None:
            raise WorkloadError(f"task {self.task.name!r} is closed-loop and has no rate")
        periodic = isinstance(self.task.arrivals, Periodic)
        pattern = Pattern.PERIODIC if periodic else Pattern.POISSON
        return Stream(self.task.name, self.rate_rps, self.service, pattern)

    @property
    def load(self) -> float:
        """Offered load; that of a closed loop is whatever the others leave, and counts as 0."""
        return 0.0 if self.rate_rps is None else self.rate_rps * self.service.mean_s


class Mix(NamedTuple):
    """The tasks of a workload, and what they cost each other."""

    tenancies: tuple[Tenancy, ...]
    """With the service times that the whole mix causes on average."""
    calm: tuple[Tenancy, ...]
    """With those of each task alone, beside the server's own front."""
    excess: Mapping[tuple[str, str], float]
    """Slowdown less one of the first, for each unit of time that the second one runs."""
    notes: tuple[str, ...]
    """What was not measured and therefore taken as absent."""
    cooling_s: float
    """How fast what ran last on a component is forgotten."""


def mix_of(
    workload: Workload,
    profile: Profile,
    subject_of: Callable[[Task, Workload], Subject],
    overlapping: bool,
) -> Mix:
    """The tasks with their loads, and notes on pairs that were not measured.

    Raises:
        WorkloadError: a task has no arrivals, or the profile lacks its model.
    """
    subjects = {task.name: subject_of(task, workload) for task in workload.tasks}
    default = workload.components[0].name if workload.components else None
    alone = [
        _tenancy(
            task, profile.service_of(subjects[task.name], task), task.component or default
        )._replace(
            front_s=profile.front_of(subjects[task.name]),
            interruption_s=profile.interruption_of(subjects[task.name]),
        )
        for task in workload.tasks
    ]
    calm = _beside_the_front(_warmed(alone, profile.cooling_s))
    if not overlapping:
        return Mix(calm, calm, {}, (), profile.cooling_s)
    cores = cores_of(workload, profile)
    notes: list[str] = []
    excess: dict[tuple[str, str], float] = {}
    known: dict[tuple[Subject, Subject, str | None], float | None] = {}
    beside = profile.pairs()
    for one in calm:
        for other in calm:
            if (
                one is other
                or one.component != other.component
                or (workload.policy == "cotenant" and _take_turns(one, other))
            ):
                continue
            pair = (subjects[one.task.name], subjects[other.task.name])
            met = (*pair, one.component)
            if met not in known:  # many tasks may run few models
                measured = beside.get(pair)
                known[met] = (
                    None
                    if measured is None
                    else excess_of(measured, profile, len(cores[one.component]))
                )
                if measured is None:
                    notes.append(
                        f"{one.task.name!r} beside {other.task.name!r}, and whatever runs the "
                        "same models, was not measured; taken as without interference"
                    )
            cost = known[met]
            if cost is not None:
                excess[one.task.name, other.task.name] = cost
    return Mix(_inflated(calm, excess), calm, excess, tuple(notes), profile.cooling_s)


def cores_of(workload: Workload, profile: Profile) -> Mapping[str | None, tuple[int, ...]]:
    """Those of each component; one without a name is the whole machine of the profile."""
    named: dict[str | None, tuple[int, ...]] = {one.name: one.cores for one in workload.components}
    return named or {None: tuple(range(int(profile.machine.get("cores", 1))))}


def service_law(measured: ServiceTime) -> Service:
    """The measured law: each cell between two quantiles stands at its middle, the mean is exact."""
    quantiles_s = np.array(measured.quantiles_s)
    if quantiles_s[0] == quantiles_s[-1]:
        return deterministic(measured.mean_s)
    weights = np.diff(LEVELS)
    middle_s = (quantiles_s[1:] + quantiles_s[:-1]) / 2.0
    values_s = middle_s * (measured.mean_s / float(middle_s @ weights))
    # Middles cut the corners of the tail: the second moment is the measured one.
    return Service(measured.mean_s, measured.second_moment_s2, discrete(values_s, weights))


def _tenancy(task: Task, alone: tuple[Alone, ...], component: str | None) -> Tenancy:
    if task.arrivals is None:
        raise WorkloadError(
            f"task {task.name!r} has no arrivals, so its load is not known; add for example "
            "'arrivals: {kind: poisson, rate: 20/s}'"
        )
    rate_rps = mean_rate_rps(task.arrivals)
    return Tenancy(task, component, rate_rps, alone, 1.0, service_law(alone[0].service))


def _warmed(mix: Sequence[Tenancy], cooling_s: float) -> Sequence[Tenancy]:
    """With the service times after the rests of the mix, which depend on them in turn."""
    current = mix
    components = {one.component for one in mix}
    for _ in range(_ROUNDS):
        rested: dict[str, Tenancy] = {}
        for component in components:
            traffic = _traffic([one for one in current if one.component == component])
            whole = Traffic.of_all(tuple(traffic.values()))
            for calm in mix:
                if calm.component == component:
                    own = traffic[calm.task.name]
                    rested[calm.task.name] = _after_rests(calm, own, whole, cooling_s)
        current = [rested[one.task.name] for one in mix]
    return current


def _traffic(here: Sequence[Tenancy]) -> Mapping[str, Traffic]:
    """Of each task of a component."""
    left = max(0.0, 1.0 - sum(one.load for one in here))
    loops = sum(one.rate_rps is None for one in here)

    def of(task: Tenancy) -> Traffic:
        # Closed loops never rest: they take what is left in equal parts.
        mean_s = task.service.mean_s + task.front_s
        rate_rps = left / loops / mean_s if task.rate_rps is None else task.rate_rps
        return Traffic(rate_rps, mean_s)

    return {one.task.name: of(one) for one in here}


def _after_rests(calm: Tenancy, own: Traffic, here: Traffic, cooling_s: float) -> Tenancy:
    alone = calm.alone[0]
    periodic = isinstance(calm.task.arrivals, Periodic)
    factor = after_on_average(Paces.of(alone), own, here, cooling_s, periodic=periodic)
    # The front does the same for every task: any other leaves it as warm as this one would.
    as_measured = awake_on_average(Traffic(OPEN_LOAD / own.service_s, own.service_s))
    spared = awake_on_average(here) / as_measured
    longer = 1.0 + lost_on_average(here) * (alone.after_a_long_rest - 1.0)
    around_s = longer * alone.around_s - spared * (alone.around_s - alone.open_around_s)
    around_s = max(around_s, min(alone.warm_around_s, alone.around_s))
    return calm._replace(service=calm.service.scaled(factor), around_s=around_s)


def _beside_the_front(mix: Sequence[Tenancy]) -> tuple[Tenancy, ...]:
    """With what the front does for a request as part of what holds the cores.

    Poisson arrivals of a task's own come as often while it is served as at any time, periodic ones
    only after that, unless it is late.
    """
    reading = [(one.rate_rps or 0.0) * READING * one.front_s for one in mix]
    return tuple(
        _answered(one, sum(reading) - own * isinstance(one.task.arrivals, Periodic))
        for one, own in zip(mix, reading, strict=True)
    )


def _answered(one: Tenancy, reading: float) -> Tenancy:
    read = 1.0 / (1.0 - min(_READING_MOST, reading))
    answer_s = min((1.0 - READING) * one.front_s, one.around_s)
    return one._replace(
        service=one.service.scaled(read).longer(answer_s),
        answer_s=answer_s,
        read=read,
        around_s=one.around_s - answer_s,
    )


def _take_turns(one: Tenancy, other: Tenancy) -> bool:
    return one.task.critical and other.task.critical


def _inflated(
    calm: tuple[Tenancy, ...], excess: Mapping[tuple[str, str], float]
) -> tuple[Tenancy, ...]:
    current = calm
    for _ in range(_ROUNDS if excess else 0):
        running = _running(current)
        current = tuple(
            _slowed(
                one,
                1.0
                + sum(
                    share * excess.get((one.task.name, name), 0.0)
                    for name, share in running.items()
                ),
            )
            for one in calm
        )
    return current


def _running(mix: tuple[Tenancy, ...]) -> dict[str, float]:
    """Fraction of time in which each task runs; best-effort: of what critical tasks leave."""
    shares: dict[str, float] = {}
    for component in {one.component for one in mix}:
        here = [one for one in mix if one.component == component]
        critical = min(0.99, sum(one.load for one in here if one.task.critical))
        open_ended = min(1.0, sum(o.load for o in here if not o.task.critical) / (1 - critical))
        loops = [one for one in here if one.rate_rps is None]
        weight = sum(one.task.priority for one in loops)
        for one in here:
            if one.rate_rps is None:
                shares[one.task.name] = (1.0 - open_ended) * one.task.priority / weight
            elif one.task.critical:
                shares[one.task.name] = min(1.0, one.load)
            else:
                shares[one.task.name] = min(1.0, one.load / (1.0 - critical))
    return shares


def _slowed(one: Tenancy, factor: float) -> Tenancy:
    # Noise in the profile may look as if company made it faster; the guard bounds it above.
    bound = one.task.slowdown_max if one.task.critical else float("inf")
    factor = min(max(1.0, factor), bound)
    return one._replace(slowdown=factor, service=one.service.scaled(factor))
