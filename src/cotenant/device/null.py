"""A device that runs nothing, on a virtual clock: launches go in, completions come out in time.

It shares its components as real ones do. A preemptive component gives its width to
critical work first, by order, and divides the rest among best-effort work; without
isolation it divides it among all; a gated component is never given two launches at once
by a policy that respects the capability, and shares equally if it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cotenant.core.clock import VirtualClock
from cotenant.core.hardware import Capability, Component
from cotenant.core.request import Request, Tensors
from cotenant.core.task import Task
from cotenant.device.base import Allowance, Completed, Event, Isolation, Loaded

ServiceTime = Callable[[str, int, int], float]
"""Task, rows and segment go in, seconds at full width come out."""

_DONE_S = 1e-12
"""Work left that is only rounding."""


class NullDevice:
    """See `device.base.Device`; `next_event_s` says how far the clock may be advanced."""

    def __init__(
        self,
        clock: VirtualClock,
        components: Sequence[Component],
        service: ServiceTime,
        isolation: Isolation = Isolation.CLASSES,
    ) -> None:
        self._clock = clock
        self._components = tuple(components)
        self._service = service
        self._isolation = isolation
        self._sites = {component.name: _Site(component) for component in components}
        self._tasks: dict[str, tuple[Task, _Site]] = {}
        self._events: list[Event] = []

    @property
    def components(self) -> tuple[Component, ...]:
        return self._components

    def next_event_s(self) -> float | None:
        """When something will happen if nothing is launched before; `None` for never."""
        if self._events:
            return self._clock.now()
        return min(
            (site.next_s for site in self._sites.values() if site.next_s is not None), default=None
        )

    def load(self, task: Task, component: str) -> None:
        self._tasks[task.name] = task, self._sites[component]
        self._events.append(Loaded(task.name, None))

    def unload(self, task: str) -> None:
        del self._tasks[task]

    def launch(self, task: str, requests: Sequence[Request], segment: int) -> None:
        about, site = self._tasks[task]
        now_s = self._clock.now()
        rows = sum(request.rows for request in requests)
        width = min(about.width or site.component.width, site.component.width)
        site.advance(now_s)
        site.occupants.append(
            _Occupant(about, len(requests), width, self._service(task, rows, segment), now_s)
        )
        self._share(site)

    def limit(self, component: str, allowance: Allowance) -> None:
        site = self._sites[component]
        site.advance(self._clock.now())
        site.allowance = allowance
        self._share(site)

    def poll(self) -> Sequence[Event]:
        events, self._events = self._events, []
        now_s = self._clock.now()
        for site in self._sites.values():
            if site.next_s is not None and site.next_s <= now_s:
                site.advance(now_s)
                for done in [one for one in site.occupants if one.left_s <= _DONE_S]:
                    site.occupants.remove(done)
                    busy_s = done.service_s * done.width / site.component.width
                    outputs: list[Tensors] = [{}] * done.requests
                    events.append(Completed(done.task.name, done.start_s, now_s, busy_s, outputs))
                self._share(site)
        return events

    def close(self) -> None:
        self._tasks.clear()

    def _share(self, site: "_Site") -> None:
        """Divide the component's width anew; speeds are relative to a launch's own width."""
        free = float(site.component.width)
        rest = site.occupants
        preemptive = site.component.capability is Capability.PREEMPTIVE
        if preemptive and self._isolation is Isolation.CLASSES:
            ranked = sorted(site.occupants, key=lambda one: -one.task.priority)
            for one in (one for one in ranked if one.task.critical):
                one.speed = min(one.width, free) / one.width
                free -= one.speed * one.width
            rest = [one for one in site.occupants if not one.task.critical]
            free = min(free, site.allowance.width) * site.allowance.duty
        wanted = sum(one.width for one in rest)
        for one in rest:
            one.speed = min(1.0, free / wanted)
        site.plan()


@dataclass(slots=True)
class _Occupant:
    """A launch on a component."""

    task: Task
    requests: int
    width: int
    service_s: float
    start_s: float
    speed: float = 0.0
    left_s: float = -1.0

    def __post_init__(self) -> None:
        self.left_s = self.service_s


class _Site:
    """A component with what occupies it now."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self.allowance = Allowance(component.width, 1.0)
        self.occupants: list[_Occupant] = []
        self.next_s: float | None = None
        """When the first of them will be done."""
        self._since_s = 0.0

    def advance(self, now_s: float) -> None:
        """Work off what has been done since the last look."""
        elapsed_s, self._since_s = now_s - self._since_s, now_s
        for one in self.occupants:
            one.left_s -= one.speed * elapsed_s
            if one.speed > 0.0 and now_s + one.left_s / one.speed <= now_s:
                one.left_s = 0.0  # less than the clock can tell apart

    def plan(self) -> None:
        """Foresee the next end at the present speeds."""
        self.next_s = min(
            (
                self._since_s + max(0.0, one.left_s) / one.speed
                for one in self.occupants
                if one.speed > 0.0
            ),
            default=None,
        )
