"""A device that runs nothing, on a virtual clock: launches go in, completions come out in time.

It shares its components as real ones do. A preemptive component gives its width to
critical work first, by order, and divides the rest among best-effort work; without
isolation it divides it among all; a gated component is never given two launches at once
by a policy that respects the capability, and shares equally if it is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cotenant.core.clock import VirtualClock
from cotenant.core.hardware import Capability, Component
from cotenant.core.request import Request, Tensors
from cotenant.core.task import Task
from cotenant.device.base import Allowance, Completed, Event, Isolation, Loaded

ServiceTime = Callable[[str, int, int], float]
"""Task, rows and segment go in, seconds at full width come out."""


class Interference(NamedTuple):
    """What tasks on one component do to each other beyond sharing its cores; `None` for nothing."""

    slowdown: Callable[[str, str], float] | None = None
    """A task and another one in flight beside it go in; how many times longer the first one takes
    comes out."""
    waking: Callable[[str, float, float], float] | None = None
    """A task, the seconds since it ran last (infinite for never) and those since any did go in; how
    many times longer its service takes than after its usual pause comes out."""
    interruption_s: Callable[[str, float], float] | None = None
    """A best-effort task and the seconds for which critical work took its cores go in; what it
    loses beyond them comes out."""
    joining_s: Callable[[str], float] | None = None
    """A best-effort task goes in that begins beside others on a single core; what it costs that the
    operating system switches between them comes out."""
    answer_s: Callable[[str], float] | None = None
    """A task goes in; how long the server's sending of one answer holds the cores comes out."""
    respite_s: float = 0.0
    """Of a second in which critical work keeps best-effort work from all cores, what the operating
    system gives best-effort work nonetheless."""


ALONE = Interference()

_DONE_S = 1e-12
"""Work left that is only rounding."""

_NO_TENSORS: Tensors = {}

_PERIOD_S = 1.0
"""In which who is kept from the cores has them for a respite."""

_LEAST_STRETCH = 0.25
"""However well two launches fill each other's gaps, they do not run for nothing."""


class NullDevice:
    """See `device.base.Device`; `next_event_s` says how far the clock may be advanced."""

    def __init__(
        self,
        clock: VirtualClock,
        components: Sequence[Component],
        service: ServiceTime,
        isolation: Isolation = Isolation.CLASSES,
        interference: Interference = ALONE,
    ) -> None:
        self._clock = clock
        self._components = tuple(components)
        self._service = service
        self._waking = interference.waking
        self._answer_s = interference.answer_s
        self._sites = {
            component.name: _Site(component, isolation is Isolation.CLASSES, interference)
            for component in components
        }
        self._everywhere = tuple(self._sites.values())
        self._seats: dict[str, _Seat] = {}
        self._events: list[Event] = []
        self._next_s: float | None = None
        """When the first launch on any component will be done ..."""
        self._foreseen = True
        """... unless something has changed since it was worked out."""

    @property
    def components(self) -> tuple[Component, ...]:
        return self._components

    def next_event_s(self) -> float | None:
        """When something will happen if nothing is launched before; `None` for never."""
        if not self._foreseen:
            self._foresee()
        return self._clock.now() if self._events else self._next_s

    def load(self, task: Task, component: str) -> None:
        site = self._sites[component]
        width = min(task.width or site.width, site.width)
        rank = -task.priority if site.ranks and task.critical else 0
        self._seats[task.name] = _Seat(site, width, rank)
        self._events.append(Loaded(task.name, None))

    def unload(self, task: str) -> None:
        del self._seats[task]

    def launch(self, task: str, requests: Sequence[Request], segment: int) -> None:
        site, width, rank = self._seats[task]
        rows = 0
        for request in requests:
            rows += request.rows
        service_s = self._service(task, rows, segment)
        now_s = self._clock.now()
        if self._waking is not None:
            service_s *= self._waking(task, *site.rested(task, now_s))
        busy_s = service_s * width / site.width
        if self._answer_s is not None and segment == 0:
            service_s += len(requests) * self._answer_s(task)
        newcomer = _Occupant(task, rank, len(requests), width, busy_s, service_s, now_s, service_s)
        site.enter(newcomer, now_s)
        self._foreseen = False

    def limit(self, component: str, allowance: Allowance) -> None:
        self._sites[component].limit(allowance, self._clock.now())
        self._foreseen = False

    def poll(self) -> Sequence[Event]:
        if not self._foreseen:
            self._foresee()
        now_s = self._clock.now()
        due = self._next_s is not None and self._next_s <= now_s
        if not due and not self._events:
            return ()
        events, self._events = self._events, []
        if due:
            for site in self._everywhere:
                if site.next_s is not None and site.next_s <= now_s:
                    site.leave(now_s, events)
            self._foreseen = False
        return events

    def close(self) -> None:
        self._seats.clear()

    def _foresee(self) -> None:
        self._foreseen, self._next_s = True, None
        for site in self._everywhere:
            if not site.shared:
                site.share()
            if site.next_s is not None and (self._next_s is None or site.next_s < self._next_s):
                self._next_s = site.next_s


class _Seat(NamedTuple):
    """Where and how a task runs."""

    site: "_Site"
    width: int
    rank: int


@dataclass(slots=True, eq=False)
class _Occupant:
    """A launch on a component."""

    task: str
    rank: int
    """Under 0: it is served before those of larger rank. 0: it shares with its like."""
    requests: int
    width: int
    busy_s: float
    """What it uses of the whole component, without the server's own work."""
    service_s: float
    start_s: float
    left_s: float
    speed: float = 0.0
    """Relative to its own width."""


class _Respite:
    """Linux lets no real-time work starve the rest: it gives that a part of each second.

    Its server for the other classes is a deferred one: who has been kept from a core for the rest
    of a second has it then, and is done with it early if there is nothing left to do.
    """

    def __init__(self, lasts_s: float) -> None:
        self._lasts_s = lasts_s
        self._on = False
        self.next_s: float | None = None
        """When it begins or ends, if everything stays as it is."""

    def at(self, now_s: float, *, kept: bool) -> bool:
        """Whether best-effort work has the cores although critical work wants them all."""
        if not kept:
            self._on, self.next_s = False, None
        elif self.next_s is None:
            self.next_s = now_s + _PERIOD_S - self._lasts_s
        elif now_s >= self.next_s:
            self._on = not self._on
            self.next_s = now_s + (self._lasts_s if self._on else _PERIOD_S - self._lasts_s)
        return self._on


class _Site:
    """A component with what occupies it now."""

    def __init__(self, component: Component, isolated: bool, interference: Interference) -> None:
        self.width = component.width
        self.ranks = isolated and component.capability is Capability.PREEMPTIVE
        """Whether critical work goes first here."""
        self._allowance = Allowance(component.width, 1.0)
        self._limited = False
        """Whether best-effort work may use less than all of it."""
        self._occupants: list[_Occupant] = []
        self._since_s = 0.0
        self._ended_s: dict[str, float] = {}
        """When each task ended last ..."""
        self._last_s = 0.0
        """... and any of them."""
        self._held_since_s: float | None = None
        """When critical work came, if it is here."""
        self._slowdown, self._interruption_s = interference.slowdown, interference.interruption_s
        self._joining_s = interference.joining_s
        self._respite = _Respite(interference.respite_s) if interference.respite_s else None
        self.next_s: float | None = None
        """When the first of the occupants will be done ..."""
        self.shared = True
        """... if the width has been divided since something changed."""

    def rested(self, task: str, now_s: float) -> tuple[float, float]:
        """For how many seconds this task has not run here, and for how many nothing has."""
        own_s = now_s - self._ended_s.get(task, -math.inf)
        return own_s, 0.0 if self._occupants else now_s - self._last_s

    def enter(self, newcomer: _Occupant, now_s: float) -> None:
        self._advance(now_s)
        if newcomer.rank < 0 and self._held_since_s is None:
            self._held_since_s = now_s
        elif self._joins(newcomer) and self._joining_s is not None:
            newcomer.left_s += self._joining_s(newcomer.task)
        self._occupants.append(newcomer)

    def _joins(self, newcomer: _Occupant) -> bool:
        """On several cores what company costs is a slowdown."""
        return (
            self.width == 1 and newcomer.rank == 0 and any(one.rank == 0 for one in self._occupants)
        )

    def _release(self, now_s: float) -> None:
        """Critical work has gone: best-effort work that had begun before it came has lost."""
        held_since_s, self._held_since_s = self._held_since_s, None
        if held_since_s is None or self._interruption_s is None:
            return
        for one in self._occupants:
            if one.left_s < one.service_s:
                one.left_s += self._interruption_s(one.task, now_s - held_since_s)

    def limit(self, allowance: Allowance, now_s: float) -> None:
        self._advance(now_s)
        self._allowance = allowance
        self._limited = allowance != Allowance(self.width, 1.0)

    def leave(self, now_s: float, events: list[Event]) -> None:
        """Take out those that are done, and say so."""
        self._advance(now_s)
        staying: list[_Occupant] = []
        for one in self._occupants:
            if one.left_s > _DONE_S and not _imperceptible(one, now_s):
                staying.append(one)
                continue
            outputs = [_NO_TENSORS] * one.requests
            events.append(Completed(one.task, one.start_s, now_s, one.busy_s, outputs))
            self._ended_s[one.task] = self._last_s = now_s
        self._occupants = staying
        if not any(one.rank < 0 for one in staying):
            self._release(now_s)

    def _advance(self, now_s: float) -> None:
        """Work off what has been done since the last look, before something changes."""
        if now_s > self._since_s:
            if not self.shared:
                self.share()
            elapsed_s, self._since_s = now_s - self._since_s, now_s
            for one in self._occupants:
                one.left_s -= one.speed * elapsed_s
        self.shared = False

    def share(self) -> None:
        """Divide the width anew, and foresee the next end."""
        self.shared, self.next_s = True, None
        if len(self._occupants) < 2 and not self._limited:
            for one in self._occupants:  # alone, and nothing holds it back
                one.speed = 1.0
                self.next_s = self._since_s + max(0.0, one.left_s)
            if self._respite is not None:
                self._respite.at(self._since_s, kept=False)
            return
        free, wanted = float(self.width), 0
        self._occupants.sort(key=_rank)
        for one in self._occupants:
            if one.rank < 0:
                one.speed = min(one.width, free) / one.width
                free -= one.speed * one.width
            else:
                wanted += one.width
        if self.ranks:
            free = self._for_best_effort(free, wanted)
        for one in self._occupants:
            if one.rank >= 0:
                one.speed = min(1.0, free / wanted)
            if self._slowdown is not None and len(self._occupants) > 1:
                one.speed = min(1.0, one.speed / self._stretch(one, self._slowdown))
            if one.speed > 0.0:
                end_s = self._since_s + max(0.0, one.left_s) / one.speed
                if self.next_s is None or end_s < self.next_s:
                    self.next_s = end_s

    def _for_best_effort(self, free: float, wanted: int) -> float:
        """Cores that best-effort work has now: those that critical work leaves, or a respite."""
        if self._respite is not None:
            if self._respite.at(self._since_s, kept=wanted > 0 and free <= 0.0):
                free = float(self.width)
                for one in self._occupants:
                    if one.rank < 0:
                        one.speed = 0.0
            self.next_s = self._respite.next_s
        return min(free, self._allowance.width) * self._allowance.duty

    def _stretch(self, one: _Occupant, slowdown: Callable[[str, str], float]) -> float:
        """Caches and memory bandwidth: each other launch in flight adds what it costs.

        What is held back has left its traces in the caches, so it counts, too; best-effort work
        that the guard has limited costs critical work as much less.
        """
        limited = self._allowance.width / self.width * self._allowance.duty if self.ranks else 1.0
        stretch = 1.0
        for other in self._occupants:
            if other is not one:
                share = limited if one.rank < 0 <= other.rank else 1.0
                stretch += share * (slowdown(one.task, other.task) - 1.0)
        return max(stretch, _LEAST_STRETCH)


def _imperceptible(one: _Occupant, now_s: float) -> bool:
    """What is left takes less than the clock can tell from now."""
    return one.speed > 0.0 and now_s + one.left_s / one.speed <= now_s


def _rank(occupant: _Occupant) -> int:
    return occupant.rank
