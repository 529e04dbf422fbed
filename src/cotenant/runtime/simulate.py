"""Tasks with arrivals and service times go in; every request's record comes out, in virtual time.

There is no second scheduler in here: the coordinator and the policy are those that serve,
over `device/null`. What is simulated is only the outside world: who asks, and when.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cotenant.core.arrivals import endless_arrivals
from cotenant.core.clock import VirtualClock
from cotenant.core.errors import WorkloadError
from cotenant.core.hardware import Component
from cotenant.core.record import Record
from cotenant.core.request import Answer
from cotenant.core.task import ClosedLoop, Task
from cotenant.device.base import Completed, Event
from cotenant.device.null import ALONE, Interference, NullDevice, ServiceTime
from cotenant.policy.base import Policy
from cotenant.runtime.coordinator import Coordinator
from cotenant.runtime.guard import Guard

_TICKS = 200
"""How often a whole simulation reports its progress."""


class Scene(NamedTuple):
    """What is simulated."""

    tasks: Sequence[Task]
    components: Sequence[Component]
    policy: Policy
    service: ServiceTime
    interference: Interference = ALONE


class Simulated(NamedTuple):
    """A simulation that has ended; times are those after the warm-up."""

    requests: int
    """Arrivals, each of them answered."""
    span_s: float
    """From the first counted arrival to the last one."""
    utilization: dict[str, float]
    """Share of its component's time that each task used in that span."""


def simulate(
    scene: Scene,
    requests: int,
    rng: np.random.Generator,
    record: Callable[[Record], None],
    *,
    warmup: int = 0,
    progress: Callable[[int], None] = lambda requests: None,
) -> Simulated:
    """Let so many requests arrive and be answered; `record` gets each one's, in order of its end.

    The first `warmup` requests are served, but not recorded. `progress` gets the number of
    arrivals so far, now and then. Nothing is kept, so memory does not grow with `requests`.

    Raises:
        WorkloadError: a task has no arrivals, or a closed loop can never be served.
    """
    return _World(scene, requests, rng, record=record, warmup=warmup, progress=progress).run()


class _Source(NamedTuple):
    """Who asks for a task: open-loop times, or clients that wait for their answers."""

    task: str
    times_s: Iterator[float] | None
    think_s: float


class _World:
    """The outside of one coordinator, with a calendar of who asks next."""

    def __init__(
        self,
        scene: Scene,
        requests: int,
        rng: np.random.Generator,
        *,
        record: Callable[[Record], None],
        warmup: int,
        progress: Callable[[int], None],
    ) -> None:
        self._left, self._requests, self._warmup = requests, requests, warmup
        self._first_counted = requests - warmup - 1
        """Requests still to come after the first one that is counted."""
        self._record, self._progress = record, progress
        self._clock = VirtualClock()
        self._device = NullDevice(
            self._clock,
            scene.components,
            scene.service,
            scene.policy.isolation,
            scene.interference,
        )
        self._coordinator = Coordinator(
            self._device,
            scene.policy,
            self._clock,
            guard=Guard(),
            answer=self._answered,
            on_event=self._happened,
        )
        self._busy_s = {task.name: 0.0 for task in scene.tasks}
        self._start_s, self._end_s = math.inf, 0.0
        self._order = itertools.count()
        self._calendar: list[tuple[float, int, _Source]] = []
        self._clients: dict[str, _Source] = {}
        for task, own_rng in zip(scene.tasks, rng.spawn(len(scene.tasks)), strict=True):
            self._coordinator.add(task)
            self._invite(task, own_rng)

    def run(self) -> Simulated:
        tick = max(1, self._requests // _TICKS)
        report_at = self._requests - tick
        wake_s = self._coordinator.step()
        while (next_s := self._next_s(wake_s)) is not None:
            self._clock.advance_to(next_s)
            if self._calendar and self._calendar[0][0] <= next_s:
                self._arrive(next_s)
                if self._left <= report_at:
                    self._progress(self._requests - self._left)
                    report_at = self._left - tick
            wake_s = self._coordinator.step()
        span_s = max(0.0, self._end_s - self._start_s)
        return Simulated(
            self._requests - self._left,
            span_s,
            {task: busy_s / span_s if span_s else 0.0 for task, busy_s in self._busy_s.items()},
        )

    def _next_s(self, wake_s: float | None) -> float | None:
        """When something happens next; what was due in the past happens now."""
        next_s = self._device.next_event_s()
        if wake_s is not None:
            wake_s = max(wake_s, self._clock.now())
            if next_s is None or wake_s < next_s:
                next_s = wake_s
        calendar = self._calendar
        if calendar and (next_s is None or calendar[0][0] < next_s):
            next_s = calendar[0][0]
        return next_s

    def _arrive(self, now_s: float) -> None:
        calendar, coordinator = self._calendar, self._coordinator
        while calendar and calendar[0][0] <= now_s and self._left:
            source = calendar[0][2]
            if source.times_s is None:
                heapq.heappop(calendar)
            else:
                heapq.heapreplace(calendar, (next(source.times_s), next(self._order), source))
            self._left -= 1
            if self._left == self._first_counted:
                self._start_s = now_s
            coordinator.submit(coordinator.request(source.task, arrival_s=now_s))
            self._end_s = now_s
        if not self._left:
            calendar.clear()

    def _answered(self, answer: Answer) -> None:
        record = answer.record
        if record.id > self._warmup:
            self._record(record)
        if not self._clients:
            return
        client = self._clients.get(record.task)
        if client is None or not self._left:
            return
        again_s = record.end_s + client.think_s
        if again_s <= record.arrival_s:
            raise WorkloadError(
                f"task {record.task!r}: a client without think time was turned away at once "
                f"({record.outcome}) and would ask again for ever; raise queue.max_size over the "
                "number of clients, relax the deadline, or give the clients a think time"
            )
        heapq.heappush(self._calendar, (again_s, next(self._order), client))

    def _happened(self, event: Event) -> None:
        if isinstance(event, Completed) and self._left:
            task, _, end_s, busy_s, _ = event
            if end_s > self._start_s:
                self._busy_s[task] += busy_s

    def _invite(self, task: Task, rng: np.random.Generator) -> None:
        match task.arrivals:
            case None:
                raise WorkloadError(
                    f"task {task.name!r} has no arrivals, so nothing asks for it; give it some, "
                    "such as {kind: poisson, rate: 10/s}"
                )
            case ClosedLoop(clients=clients, think_s=think_s):
                source = self._clients[task.name] = _Source(task.name, None, think_s)
                firsts_s = [0.0] * clients
            case open_loop:
                times_s = endless_arrivals(open_loop, rng)
                source = _Source(task.name, times_s, 0.0)
                firsts_s = [next(times_s)]
        for first_s in firsts_s:
            heapq.heappush(self._calendar, (first_s, next(self._order), source))
