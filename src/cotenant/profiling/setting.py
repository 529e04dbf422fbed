"""Settings that were visited go in; what the profile says of each one comes out."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cotenant.core.task import Criticality, Task
from cotenant.profiling.cooling import BRIEF_S, Paused, cooling_s, with_nothing_left
from cotenant.profiling.estimate import Times, median_of_means, pooled, relative_error
from cotenant.profiling.profile import (
    COOLING_S,
    LONG_PAUSE_S,
    Alone,
    Beside,
    ServiceTime,
    Subject,
    service_time,
)
from cotenant.profiling.visit import Guest, Stay

_USUAL = 0.98
"""Quantile beyond which a service was disturbed by something else."""


class Loaded(NamedTuple):
    """A task in its lane, ready to be measured."""

    task: Task
    subject: Subject
    guests: tuple[Guest, ...]
    """One for each batch size that is measured."""
    load_s: float
    memory_bytes: int


class Setting:
    """Guests that are visited together, and what the visits gave so far.

    One alone, two beside each other, or all of a component in turns.
    """

    def __init__(
        self, loaded: Sequence[Loaded], guests: Sequence[Guest], *, in_turns: bool = False
    ) -> None:
        self.loaded = tuple(loaded)
        self.guests = tuple(guests)
        self.in_turns = in_turns
        self.stays: list[list[Stay]] = []

    @property
    def name(self) -> str:
        if self.in_turns:
            return f"{len(self.guests)} tasks in turns"
        return " beside ".join(
            f"{one.task.name} ({one.rows}){_rest(one.pause_s)}" for one in self.guests
        )

    @property
    def alone(self) -> bool:
        """One guest with pauses of its own: what all else is compared with."""
        return len(self.guests) == 1 and self.guests[0].pause_s is None

    @property
    def rests(self) -> bool:
        """One guest that pauses for so long that few requests have to do."""
        return len(self.guests) == 1 and self.guests[0].pause_s == LONG_PAUSE_S

    @property
    def pair(self) -> bool:
        """Two guests beside each other."""
        return len(self.guests) == 2 and not self.in_turns

    @property
    def seen(self) -> int:
        """Requests of the first guest so far."""
        return sum(stays[0].service_s.size for stays in self.stays)

    def segment_rounds(self, segment: int) -> list[Times]:
        """Of the first guest."""
        return [stays[0].segments_s[segment] for stays in self.stays]

    def interruption_s(self, place: int) -> float | None:
        """What each interruption adds to the net time of a guest.

        Least squares alone would blame interruptions for what only brought them: who takes long
        is interrupted often. With x the time without them, r their rate in it and c the cost, net
        time is x + c n and n is r x on the average, so the slope s, with V the variance of net
        time over that of n, is c + r Var x / Var n, and

            c = s - (1 - sqrt(1 - 4 r^2 (V - s^2))) / (2 r).

        Variances are those within a round; from one to the next the machine changes. `None` if all
        services were interrupted equally often.
        """
        often = np.concatenate([stays[place].interruptions for stays in self.stays])
        net_s = np.concatenate([stays[place].net_s for stays in self.stays])
        usual_s = np.minimum(net_s, np.quantile(net_s, _USUAL))
        round_ends = np.cumsum([stays[place].net_s.size for stays in self.stays])[:-1]
        more, longer_s = (_within(np.split(one, round_ends)) for one in (often, usual_s))
        spread, rate_rps = float(more @ more), float(often.mean() / usual_s.mean())
        if spread <= 0.0 or rate_rps <= 0.0:
            return None
        slope_s = float(more @ longer_s) / spread
        left = float(longer_s @ longer_s) / spread - slope_s**2
        root = math.sqrt(max(0.0, 1.0 - 4.0 * rate_rps**2 * left))
        return slope_s - (1.0 - root) / (2.0 * rate_rps)

    def rounds(self, place: int) -> list[Times]:
        return [stays[place].service_s for stays in self.stays]

    def error(self, rng: np.random.Generator) -> float:
        return max(relative_error(self.rounds(place), rng) for place in range(len(self.guests)))


def _within(rounds: Sequence[Times]) -> Times:
    """Deviations from the mean of each one's round."""
    return np.concatenate([one - one.mean() for one in rounds])


def alone_of(settings: Sequence[Setting], rng: np.random.Generator) -> tuple[Alone, ...]:
    """What each task showed alone; tasks that are the same subject share one entry."""
    found: dict[tuple[Subject, int], Alone] = {}
    warm_s = _paused_s(settings, 0.0)
    turns_s = _in_turns_s(settings, warm_s)
    rested_s = _paused_s(settings, LONG_PAUSE_S)
    for setting in settings:
        if not setting.alone:
            continue
        [loaded], [guest] = setting.loaded, setting.guests
        overheads_s = [stays[0].overhead_s for stays in setting.stays]
        error = relative_error(setting.rounds(0), rng)
        mean_s = median_of_means(setting.rounds(0))
        found[loaded.subject, guest.rows] = Alone(
            subject=loaded.subject,
            batch=guest.rows,
            model=guest.task.model,
            service=service_time(pooled(setting.rounds(0))),
            relative_error=error if math.isfinite(error) else 1.0,
            overhead_s=median_of_means(overheads_s),
            warm=warm_s.get(loaded.subject, mean_s) / mean_s if guest.rows == 1 else 1.0,
            in_turns=turns_s[loaded.subject] / mean_s
            if guest.rows == 1 and loaded.subject in turns_s
            else None,
            rested=rested_s[loaded.subject] / mean_s
            if guest.rows == 1 and loaded.subject in rested_s
            else None,
            load_s=loaded.load_s,
            memory_bytes=loaded.memory_bytes,
            by_segment=_by_segment(setting),
            interruption_s=_interruption_s(loaded.subject, settings),
        )
    return tuple(found.values())


def cooling_of(settings: Sequence[Setting]) -> float | None:
    """How fast the machine cools, by all that were measured after pauses of three lengths."""
    usual_s, brief_s, warm_s = (_paused_s(settings, pause_s) for pause_s in (None, BRIEF_S, 0.0))
    return cooling_s(
        [
            Paused(usual_s[subject], brief_s[subject], warm_s[subject])
            for subject in usual_s.keys() & brief_s.keys() & warm_s.keys()
        ]
    )


def _paused_s(settings: Sequence[Setting], pause_s: float | None) -> dict[Subject, float]:
    """Mean service times of those that were measured alone, one row at a time, with this pause."""
    return {
        one.loaded[0].subject: median_of_means(one.rounds(0))
        for one in settings
        if len(one.guests) == 1 and one.guests[0].pause_s == pause_s and one.guests[0].rows == 1
    }


def _in_turns_s(
    settings: Sequence[Setting], warm_s: Mapping[Subject, float]
) -> dict[Subject, float]:
    """Mean service times of those that were measured in turns, with nothing of their own left."""
    cools_s = cooling_of(settings) or COOLING_S
    found: dict[Subject, float] = {}
    for one in settings:
        if one.in_turns:
            means_s = [median_of_means(one.rounds(place)) for place in range(len(one.loaded))]
            for loaded, mean_s in zip(one.loaded, means_s, strict=True):
                itself_s, others_s = warm_s.get(loaded.subject, mean_s), sum(means_s) - mean_s
                found[loaded.subject] = with_nothing_left(mean_s, itself_s, others_s, cools_s)
    return found


def _rest(pause_s: float | None) -> str:
    if pause_s is None:
        return ""
    return f", after {1e3 * pause_s:g} ms" if pause_s else ", back to back"


def _interruption_s(subject: Subject, settings: Sequence[Setting]) -> float:
    """The median over all its critical company, so that one noisy neighbour says nothing."""
    if subject.criticality is Criticality.CRITICAL:
        return 0.0
    seen = [
        one.interruption_s(place)
        for one in settings
        if one.pair
        for place, other in ((0, 1), (1, 0))
        if one.loaded[place].subject == subject
        and one.loaded[other].subject.criticality is Criticality.CRITICAL
    ]
    known_s = [each_s for each_s in seen if each_s is not None]
    return max(0.0, float(np.median(known_s))) if known_s else 0.0


def _by_segment(setting: Setting) -> tuple[ServiceTime, ...]:
    segments = setting.loaded[0].subject.segments
    if segments == 1:
        return ()
    return tuple(service_time(pooled(setting.segment_rounds(one))) for one in range(segments))


def beside_of(settings: Sequence[Setting]) -> tuple[Beside, ...]:
    """What each task of a pair showed beside the other one."""
    alone_s = {
        (one.guests[0].task.name, one.guests[0].rows): median_of_means(one.rounds(0))
        for one in settings
        if one.alone
    }
    warm_s = _paused_s(settings, 0.0)
    found: dict[tuple[Subject, Subject], Beside] = {}
    for setting in settings:
        if not setting.pair:
            continue
        for place, other in ((0, 1), (1, 0)):
            guest, rounds = setting.guests[place], setting.rounds(place)
            mean_s = median_of_means(rounds)
            subject, neighbour = setting.loaded[place].subject, setting.loaded[other].subject
            found[subject, neighbour] = Beside(
                subject=subject,
                other=neighbour,
                n=sum(one.size for one in rounds),
                slowdown=mean_s / alone_s[guest.task.name, guest.rows],
                over_warm=mean_s / warm_s.get(subject, alone_s[guest.task.name, guest.rows]),
                busy=float(np.median([stays[other].busy for stays in setting.stays])),
            )
    return tuple(found.values())
