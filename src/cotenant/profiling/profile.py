"""The nouns of a profile: measured figures go in, checked and frozen ones come out.

Everything that a figure depends on stands beside it (graph, width, batch, criticality,
machine, versions), so that a profile is never applied to something that it did not measure.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cotenant.core.errors import WorkloadError
from cotenant.core.task import Criticality, Noun, Task

LEVELS = (0.0, 0.05, *(i / 10 for i in range(1, 10)), 0.95, 0.975, 0.99, 0.995, 1.0)
"""Where the distribution of a service time is written down; 0 and 1 are its ends."""
PAUSE_S = 0.05
"""Between two requests of a model that is measured alone, unless its arrivals come faster."""
LONG_PAUSE_S = 0.2
"""Of a model that is measured after long rests, too."""
OPEN_LOAD = 0.6
"""Of clients who do not wait: many services have arrivals meanwhile, and few queues are long."""
COOLING_S = 0.012
"""How fast two cores of a virtual machine cool; stands in where nobody has measured it."""
_ROUNDING = 1e-9
_INTERRUPTION_MOST_S = 0.002
"""Even a large cache is filled again within so long; noise of a long service may look like more."""
_AWAKE = 0.5
"""Of what a service back to back is spared, what it is still spared after another model. [D] Over
6,000 requests on two cores; stands in where nobody has measured it."""
_EVICTED_MOST = 1.25
"""Of a service with pauses: empty caches cost no more than that; noise may look like more."""
_RESTED_MOST = 2.0
"""Of a service with the usual pauses, after a long one; noise may look like more."""
_PARTS_MOST = 1.5
"""Sum of the segments' means over the whole's: noise may lift it over 1, but not so far."""


class ServiceTime(Noun):
    """How long one launch takes when nothing else runs."""

    n: int = Field(ge=1)
    mean_s: float = Field(gt=0, allow_inf_nan=False)
    second_moment_s2: float = Field(gt=0, allow_inf_nan=False)
    quantiles_s: tuple[float, ...] = Field(min_length=len(LEVELS), max_length=len(LEVELS))
    """One for each of `LEVELS`."""

    @model_validator(mode="after")
    def _is_possible(self) -> "ServiceTime":
        if self.second_moment_s2 < self.mean_s**2 * (1.0 - _ROUNDING):
            raise ValueError(
                f"second_moment_s2 {self.second_moment_s2:g} is under the square of mean_s "
                f"{self.mean_s:g}; no time has such moments: measure the profile again"
            )
        quantiles = self.quantiles_s
        if not all(0.0 < one < np.inf for one in quantiles) or list(quantiles) != sorted(quantiles):
            raise ValueError(
                "quantiles_s must be finite times over 0 that do not decrease: measure the "
                "profile again"
            )
        if not quantiles[0] * (1 - _ROUNDING) <= self.mean_s <= quantiles[-1] * (1 + _ROUNDING):
            raise ValueError(
                f"mean_s {self.mean_s:g} lies outside of quantiles_s: measure the profile again"
            )
        return self


class Subject(Noun):
    """What was measured: a model as one task runs it."""

    graph_hash: str = Field(min_length=1)
    criticality: Criticality
    width: int = Field(ge=1)
    segments: int = Field(ge=1)

    @property
    def is_critical(self) -> bool:
        return self.criticality is Criticality.CRITICAL

    @property
    def of_any_criticality(self) -> "Subject":
        """What all subjects share that are this model in this form."""
        return self.model_copy(update={"criticality": Criticality.CRITICAL})


class Alone(Noun):
    """One model at one batch size with the machine to itself."""

    subject: Subject
    batch: int = Field(ge=1)
    model: str
    """The reference that it was measured by, for people."""
    service: ServiceTime
    relative_error: float = Field(ge=0, allow_inf_nan=False)
    """Half the 95 % interval of the mean, over the mean."""
    overhead_s: float = Field(ge=0, allow_inf_nan=False)
    """Mean time in the machine before and after the service, with no queue."""
    front_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    """The same as a client of the server sees it: protocol, network and all; `None` if unknown."""
    warm_front_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    """The same back to back, when no core on the way has fallen asleep."""
    late_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    """How much longer, on the average, a request that is due at a time of its own is at the front:
    its client is late, or hears the answer late; `None` if unknown."""
    front_busy_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Processor time of the server's front for one request; `None` in earlier profiles."""
    warm: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Mean service time back to back over that with pauses: cores awake, caches its own."""
    in_turns: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The same right after other models, their caches in place of its own; `None` if unknown."""
    rested: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Mean service time after pauses of `LONG_PAUSE_S` over that with the usual ones; `None` if
    unknown."""
    load_s: float = Field(ge=0, allow_inf_nan=False)
    memory_bytes: int = Field(ge=0)
    """Proportional share of the lane's memory."""
    interruption_s: float = Field(0.0, ge=0, allow_inf_nan=False)
    """What it loses each time critical work takes its cores, beyond that work's own time."""
    by_segment: tuple[ServiceTime, ...] = ()
    """Each segment, in order; empty for a model in one piece, and in profiles of version 1."""

    @model_validator(mode="after")
    def _has_the_segments_of_its_whole(self) -> "Alone":
        parts, segments = self.by_segment, self.subject.segments
        if parts and len(parts) != segments:
            raise ValueError(
                f"by_segment has {len(parts)} entries for a model in {segments} segments: measure "
                "the profile again"
            )
        parts_s, whole_s = sum(one.mean_s for one in parts), self.service.mean_s
        if parts_s > _PARTS_MOST * whole_s:
            raise ValueError(
                f"the means of by_segment add up to {parts_s:g} s, which is more than the "
                f"{whole_s:g} s of the whole: measure the profile again"
            )
        return self

    @property
    def around_s(self) -> float:
        """What a request spends outside of queue and service, as far as it was measured."""
        return self.overhead_s if self.front_s is None else self.front_s

    @property
    def after_itself(self) -> float:
        """How many times longer than with pauses a service without any takes.

        Never over 1, nor over what it takes after another model, which is measured over minutes.
        """
        return min(1.0, self.warm, 1.0 if self.in_turns is None else self.in_turns)

    @property
    def after_another(self) -> float:
        """The same after another model."""
        if self.in_turns is None:
            return 1.0 - _AWAKE * (1.0 - self.after_itself)
        return min(_EVICTED_MOST, self.in_turns)

    @property
    def after_a_long_rest(self) -> float:
        """The same after a pause of `LONG_PAUSE_S`, whoever ran before it; never under 1."""
        return 1.0 if self.rested is None else min(_RESTED_MOST, max(1.0, self.rested))

    @property
    def warm_around_s(self) -> float:
        """The same back to back."""
        if self.front_s is None or self.warm_front_s is None:
            return self.around_s
        return min(self.front_s, self.warm_front_s)

    @property
    def open_around_s(self) -> float:
        """The same of requests that are due at times of their own, at a load of `OPEN_LOAD`."""
        return self.warm_around_s + (self.late_s or 0.0)


class Beside(Noun):
    """One model while another one kept the machine busy."""

    subject: Subject
    other: Subject
    n: int = Field(ge=1)
    slowdown: float = Field(gt=0, allow_inf_nan=False)
    """Mean service time beside the other over mean service time alone."""
    over_warm: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The same over the mean service time alone and back to back; `None` in earlier profiles."""
    busy: float = Field(ge=0, le=1)
    """Fraction of the time in which the other one was in service."""


class Origin(NamedTuple):
    """Where and with what figures are measured."""

    machine: Mapping[str, str | int]
    versions: Mapping[str, str]


class Profile(Noun):
    """All that was measured on one machine, under one policy's scheduling classes."""

    version: Literal[1, 2] = 2
    """Version 1 knew no single segments."""
    policy: str
    preemptive: bool
    """The operating system let critical work interrupt best-effort work."""
    machine: dict[str, str | int]
    versions: dict[str, str]
    alone: tuple[Alone, ...] = Field(min_length=1)
    beside: tuple[Beside, ...] = ()
    cooling_s: float = Field(COOLING_S, gt=0, allow_inf_nan=False)
    """How fast a model's own is lost from the caches: seconds until 1 / e of it is left."""
    respite_s: float = Field(0.05, ge=0, lt=1, allow_inf_nan=False)
    """Of a second in which critical work fills a core, what the operating system keeps for the
    rest; if an older profile does not say it, what Linux has by default."""

    def service_of(self, subject: Subject, task: Task) -> tuple[Alone, ...]:
        """What is known of a task alone, by rising batch size, from 1.

        Where the model was measured in the other criticality only, that stands in.

        Raises:
            WorkloadError: the model was not measured with this width and these segments.
        """
        same = {"criticality": subject.criticality}
        known_as = [one for one in self.alone if one.subject == subject] or [
            one for one in self.alone if one.subject.model_copy(update=same) == subject
        ]
        found = sorted(known_as, key=lambda one: one.batch)
        if not found or found[0].batch != 1:
            known = ", ".join(
                sorted({f"{one.model} at {_form(one.subject)}" for one in self.alone})
            )
            raise WorkloadError(
                f"the profile lacks task {task.name!r}: {task.model!r} at {_form(subject)}; it has "
                f"{known}; run 'cotenant profile' with this task in the workload"
            )
        return tuple(found)

    def pairs(self) -> Mapping[tuple[Subject, Subject], Beside]:
        """What is known of one beside another, by both."""
        return {(one.subject, one.other): one for one in self.beside}

    def front_of(self, subject: Subject) -> float:
        """Processor time at the front for a request of this graph; 0 if unknown.

        The least of any task's: whoever is asked, the front does the same.
        """
        known = [
            one.front_busy_s
            for one in self.alone
            if one.front_busy_s is not None and one.subject.graph_hash == subject.graph_hash
        ]
        return min(known, default=0.0)

    def after_itself_of(self, subject: Subject) -> float:
        """How many times longer a service takes back to back; 1 if unknown, and never more."""
        known = self._alone_of(subject)
        return 1.0 if known is None else known.after_itself

    def after_another_of(self, subject: Subject) -> float:
        """The same right after another model."""
        known = self._alone_of(subject)
        return 1.0 if known is None else known.after_another

    def interruption_of(self, subject: Subject) -> float:
        """Seconds that it loses each time critical work interrupts it; 0 if unknown.

        They were measured with what the machine did meanwhile to receive and to answer the critical
        request. Where the front's time is known by itself, that is left out: the least that was
        seen around any critical service.
        """
        known = self._alone_of(subject)
        if known is None:
            return 0.0
        around_s = [one.overhead_s for one in self.alone if one.subject.is_critical]
        ours_s = 0.0 if known.front_busy_s is None else min(around_s, default=0.0)
        return min(_INTERRUPTION_MOST_S, max(0.0, known.interruption_s - ours_s))

    def mean_of(self, subject: Subject) -> float:
        """Mean service time with pauses, in seconds.

        Raises:
            WorkloadError: it was measured in company only.
        """
        known = self._alone_of(subject)
        if known is None:
            raise WorkloadError(
                f"the profile has a pair with {_form(subject)}, and no time of it alone: measure "
                "the profile again"
            )
        return known.service.mean_s

    def _alone_of(self, subject: Subject) -> Alone | None:
        same = (one for one in self.alone if one.subject == subject and one.batch == 1)
        return next(same, None)


def service_time(samples_s: npt.ArrayLike) -> ServiceTime:
    """Summary of service times.

    >>> service_time([0.01, 0.03]).mean_s
    0.02
    """
    samples = np.asarray(samples_s, dtype=np.float64)
    mean_s = float(samples.mean())
    return ServiceTime(
        n=samples.size,
        mean_s=mean_s,
        second_moment_s2=max(float(np.mean(samples**2)), mean_s**2),
        quantiles_s=tuple(np.maximum.accumulate(np.quantile(samples, LEVELS)).tolist()),
    )


def differences(profile: Profile, here: Origin) -> Sequence[str]:
    """Why the profile does not speak of this machine; empty if it does."""
    found = []
    pairs: tuple[tuple[Mapping[str, str | int], Mapping[str, str | int]], ...] = (
        (profile.machine, here.machine),
        (profile.versions, here.versions),
    )
    for measured, now in pairs:
        for key in sorted(measured.keys() | now.keys()):
            then, there = measured.get(key), now.get(key)
            if not _same(then, there):
                found.append(f"{key} was {then!r} and is {there!r}")
    return found


def _same(then: str | int | None, now: str | int | None) -> bool:
    # The kernel keeps a little memory for itself, not the same at each start.
    if isinstance(then, int) and isinstance(now, int) and then > 1 << 20:
        return abs(then - now) <= 0.02 * then
    return then == now


def _form(subject: Subject) -> str:
    return f"width {subject.width}, {subject.segments} segment" + "s" * (subject.segments > 1)
