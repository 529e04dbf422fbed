"""Who runs now: requests and device events go in, launches and answers come out.

One `step()` is receive, expire, decide, act, record. The same coordinator drives real
devices on the machine's clock and `device/null` on a virtual one; it never blocks, never
sleeps, and knows of time only what its clock says. Every line of it keeps one promise: each
request is answered, exactly once.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable

from cotenant.core.clock import Clock
from cotenant.core.errors import (
    Cancelled,
    CotenantError,
    DeadlineExceeded,
    NotReady,
    QueueFull,
)
from cotenant.core.hardware import Component
from cotenant.core.record import Outcome
from cotenant.core.request import Answer, Request, Tensors
from cotenant.core.task import OnFull, Task
from cotenant.core.units import format_duration
from cotenant.device.base import (
    Completed,
    Device,
    Event,
    Failed,
    Loaded,
    LoadFailed,
)
from cotenant.policy.base import (
    Launch,
    Limit,
    Policy,
    Snapshot,
    TaskView,
    Wake,
)
from cotenant.runtime.account import record_of, record_unserved
from cotenant.runtime.guard import Guard
from cotenant.runtime.place import Place
from cotenant.runtime.shares import rejoin
from cotenant.runtime.tenant import Flight, Tenant

_RELAX_EVERY_S = 0.25
"""While best-effort work is held back, how often to ask whether it still has to be."""
_OK = Outcome.OK  # a member of an enumeration is slow to look up


class Coordinator:
    """Owns every request between its arrival and its one answer."""

    def __init__(
        self,
        device: Device,
        policy: Policy,
        clock: Clock,
        *,
        guard: Guard,
        answer: Callable[[Answer], None],
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """`answer` gets each request's end, `on_event` every event of the device."""
        self._device = device
        self._policy = policy
        self._clock = clock
        self._guard = guard
        self._answer = answer
        self._on_event = on_event
        self._tenants: dict[str, Tenant] = {}
        self._places = {one.name: Place(one) for one in device.components}
        self._everywhere = tuple(self._places.values())
        self._ids = itertools.count(1)
        self._expiries: list[tuple[float, int, str]] = []
        self._views: dict[str, TaskView] = {}
        self._dirty: set[str] = set()
        """Tasks whose view no longer shows what is."""
        self._startable: set[str] = set()
        """Tasks of which something waits whose lane is free, by their views."""

    # --- tasks -----------------------------------------------------------------------------

    def add(self, task: Task) -> Component:
        """Begin to serve a task; it takes requests at once and runs them when it has loaded."""
        place = self._placed(task)
        self._tenants[task.name] = Tenant(
            task, place.component.name, min(task.width or place.width, place.width)
        )
        self._dirty.add(task.name)
        self._device.load(task, place.component.name)
        return place.component

    def remove(self, task: str, error: CotenantError) -> None:
        """Forget a task with nothing in flight; what still waits is answered with `error`."""
        tenant = self._tenants.pop(task)
        self._views.pop(task, None)
        self._dirty.discard(task)
        self._startable.discard(task)
        self._guard.forget(task)
        for request in tenant.backlog.take(len(tenant.backlog)):
            self._end(tenant.task, request, Outcome.REJECTED, error)
        self._device.unload(task)

    def queued(self, task: str) -> int:
        """Requests of the task that wait; none of one that has gone."""
        tenant = self._tenants.get(task)
        return 0 if tenant is None else len(tenant.backlog)

    def busy(self, task: str) -> bool:
        """Whether something of the task waits or runs."""
        tenant = self._tenants[task]
        return bool(tenant.backlog) or tenant.flight is not None

    @property
    def pressed(self) -> bool:
        """Whether critical work fills a component."""
        return any(place.pressed for place in self._places.values())

    # --- requests --------------------------------------------------------------------------

    def request(
        self,
        task: str,
        inputs: Tensors | None = None,
        *,
        arrival_s: float | None = None,
        timeout_s: float | None = None,
        deadline_s: float | None = None,
        level: int = 0,
        rows: int = 1,
    ) -> Request:
        """A new request, not yet submitted; times are relative to its arrival, which is now.

        What it does not say itself (timeout, deadline) comes from its task.
        """
        about = self._tenants[task]
        arrival_s = self._clock.now() if arrival_s is None else arrival_s
        timeout_s = about.timeout_s if timeout_s is None else timeout_s
        deadline_s = about.deadline_s if deadline_s is None else deadline_s
        return Request(
            next(self._ids),
            task,
            arrival_s,
            None if timeout_s is None else arrival_s + timeout_s,
            None if deadline_s is None else arrival_s + deadline_s,
            level,
            rows,
            inputs,
        )

    def submit(self, request: Request) -> None:
        """Take in a request; if its queue is full, somebody is answered at once."""
        tenant = self._tenants[request.task]
        backlog = tenant.backlog
        if backlog.size >= tenant.most_queued:
            queue = tenant.task.queue
            full = QueueFull(
                f"Exceeds maximum queue size: task {request.task!r} has {queue.max_size} requests "
                "waiting; send fewer, or raise queue.max_size"
            )
            if queue.on_full is OnFull.REJECT:
                self._end(tenant.task, request, Outcome.REJECTED, full)
                return
            self._end(tenant.task, backlog.drop_oldest(), Outcome.DROPPED, full)
        if not tenant.critical and not backlog.size and tenant.flight is None:
            rejoin(tenant, self._tenants.values())
        backlog.push(request)
        self._dirty.add(request.task)
        if request.expires_s is not None or request.deadline_s is not None:
            self._watch(tenant, request)

    def cancel(self, request: Request) -> None:
        """Its client has gone: answer it now if it waits, throw its outputs away if it runs."""
        tenant = self._tenants.get(request.task)
        if tenant is not None and tenant.backlog.waits(request.id):
            tenant.backlog.remove(request.id)
            self._dirty.add(request.task)
            self._end(tenant.task, request, Outcome.CANCELLED, Cancelled("the client went away"))

    # --- one step --------------------------------------------------------------------------

    def step(self) -> float | None:
        """Do all that is due now; returns when to come again if nothing happens before."""
        if events := self._device.poll():
            self._receive(events)
        now_s = self._clock.now()
        wake_s = self._expire(now_s) if self._expiries else math.inf
        self._look()
        deciding = bool(self._startable)
        for place in self._everywhere:
            if place.held:
                place.allow(self._guard.allowance(place.component, now_s))
                wake_s = min(wake_s, now_s + _RELAX_EVERY_S)
            if place.allowance != place.limit:
                deciding = True
        if deciding:  # most steps leave nothing that a policy could do
            snapshot = Snapshot(
                tuple(self._views.values()), tuple(map(Place.view, self._everywhere))
            )
            for action in self._policy.decide(snapshot, now_s):
                if isinstance(action, Launch):
                    if not self._launch(self._tenants[action.task], action.requests, now_s):
                        wake_s = now_s  # all of a batch was too late; what is behind it may go
                elif isinstance(action, Wake):
                    wake_s = min(wake_s, action.at_s)
                else:
                    self._limit(action)
        return None if wake_s == math.inf else wake_s

    def _receive(self, events: Iterable[Event]) -> None:
        for event in events:
            task = event.task
            tenant = self._tenants.get(task)
            if tenant is not None:
                self._dirty.add(task)
                if isinstance(event, Completed):
                    self._completed(tenant, event)
                elif isinstance(event, Failed):
                    self._failed(tenant, event)
                elif isinstance(event, Loaded):
                    tenant.loaded = True
                else:
                    self._unservable(tenant, event)
            self._on_event(event)

    def _expire(self, now_s: float) -> float:
        """Answer what has become too late; returns when to look again."""
        expiries = self._expiries
        while expiries:
            due_s, request_id, task = expiries[0]
            tenant = self._tenants.get(task)
            if tenant is None or not tenant.backlog.waits(request_id):
                heapq.heappop(expiries)  # it waits no more: nobody has to be woken for it
            elif due_s > now_s:
                return due_s
            else:
                heapq.heappop(expiries)
                self._dirty.add(task)
                self._too_late(tenant, tenant.backlog.remove(request_id), now_s)
        return math.inf

    def _look(self) -> None:
        """Make the views of the tasks that have changed anew."""
        for task in self._dirty:
            view = self._views[task] = self._tenants[task].view()
            if view.queued and view.ready:
                self._startable.add(task)
            else:
                self._startable.discard(task)
        self._dirty.clear()

    # --- acting ----------------------------------------------------------------------------

    def _launch(self, tenant: Tenant, requests: int, now_s: float) -> bool:
        """Start a batch or its next segment; false if none of its requests can be in time."""
        self._dirty.add(tenant.name)
        flight = tenant.flight
        if flight is None:
            flight = self._new_flight(tenant, requests, now_s)
            if flight is None:
                return False
            tenant.flight = flight
        self._mark_company(tenant, flight)
        self._places[tenant.component].start(tenant, flight, now_s)
        tenant.on_device = True
        self._device.launch(tenant.name, flight.requests, len(flight.segments))
        return True

    def _new_flight(self, tenant: Tenant, requests: int, now_s: float) -> Flight | None:
        in_time: list[Request] = []
        rows = 0
        for request in tenant.backlog.take(requests):
            if request.deadline_s is None or request.deadline_s >= now_s + (
                tenant.estimate.of(request.rows) or 0.0
            ):
                in_time.append(request)
                rows += request.rows
            else:
                self._too_late(tenant, request, now_s)
        return Flight(tuple(in_time), rows, now_s) if in_time else None

    def _limit(self, action: Limit) -> None:
        self._places[action.component].hold(action.allowance)
        self._device.limit(action.component, action.allowance)

    def _mark_company(self, newcomer: Tenant, flight: Flight) -> None:
        """Note which flights are no longer alone; the newcomer is not on the device yet."""
        if flight.segments:
            flight.alone = False  # something may have run between its segments
        for place in self._everywhere:
            for name in place.running:
                other = self._tenants[name]
                if other.flight is None:
                    continue
                flight.alone = other.flight.alone = False
                flight.joined |= not flight.segments
                if (
                    newcomer.critical
                    and other.critical
                    and newcomer.component == other.component
                    and newcomer.width + other.width > place.width
                ):
                    flight.displaced = other.flight.displaced = True

    # --- ends ------------------------------------------------------------------------------

    def _completed(self, tenant: Tenant, event: Completed) -> None:
        _, start_s, end_s, busy_s, outputs = event
        flight = self._landed(tenant, end_s)
        if flight is None:
            return
        flight.segments += ((start_s, end_s),)
        flight.service_s += end_s - start_s
        tenant.consumed_s += busy_s / tenant.priority
        if len(flight.segments) < tenant.segments:
            return
        tenant.flight = None
        output_s = max(0.0, self._clock.now() - end_s)
        tenant.estimate.observe(flight.rows, flight.service_s)
        # What other critical work caused is no reason to hold best-effort work back.
        telling = tenant.critical and not flight.displaced
        for position, request in enumerate(flight.requests):
            record = record_of(tenant, flight, request, _OK, end_s, output_s=output_s)
            if telling:
                self._guard.observe(tenant.task, record, beside=flight.joined)
                place = self._places[tenant.component]
                place.allow(self._guard.allowance(place.component, end_s))
            own = None if outputs is None else outputs[position]
            self._answer(Answer(request, record, own, None))

    def _failed(self, tenant: Tenant, event: Failed) -> None:
        now_s = self._clock.now()
        if event.lane_lost:
            tenant.loaded = False
        flight = tenant.flight  # it may also have been between two segments
        self._landed(tenant, now_s)
        tenant.flight = None
        if flight is None:
            return
        for request in flight.requests:
            record = record_of(tenant, flight, request, Outcome.FAILED, now_s)
            self._answer(Answer(request, record, None, event.error))

    def _unservable(self, tenant: Tenant, event: LoadFailed) -> None:
        error = NotReady(f"task {event.task!r} failed to load: {event.error}")
        for request in tenant.backlog.take(len(tenant.backlog)):
            self._end(tenant.task, request, Outcome.FAILED, error)

    def _too_late(self, tenant: Tenant, request: Request, now_s: float) -> None:
        waited = format_duration(now_s - request.arrival_s)
        if request.expires_s is not None and now_s >= request.expires_s:
            outcome, why = Outcome.TIMED_OUT, f"it waited {waited} in the queue"
        else:
            outcome = Outcome.HOPELESS
            why = f"it waited {waited} and could no longer meet its deadline, so it was not run"
        error = DeadlineExceeded(f"Request timeout expired: task {request.task!r}: {why}")
        self._end(tenant.task, request, outcome, error)

    def _landed(self, tenant: Tenant, now_s: float) -> Flight | None:
        if not tenant.on_device:
            return None
        tenant.on_device = False
        tenant.idle_since_s = now_s
        self._places[tenant.component].end(tenant.name)
        return tenant.flight

    def _end(self, task: Task, request: Request, outcome: Outcome, error: CotenantError) -> None:
        record = record_unserved(task, request, outcome, self._clock.now())
        self._answer(Answer(request, record, None, error))

    # --- small rules -----------------------------------------------------------------------

    def _placed(self, task: Task) -> Place:
        if task.component is None:
            return next(iter(self._places.values()))
        return self._places[task.component]

    def _watch(self, tenant: Tenant, request: Request) -> None:
        """See to it that the request is answered the moment it has become too late for it."""
        due_s = request.expires_s
        if request.deadline_s is not None:
            start_by_s = request.deadline_s - (tenant.estimate.of(request.rows) or 0.0)
            due_s = start_by_s if due_s is None else min(due_s, start_by_s)
        if due_s is not None:
            heapq.heappush(self._expiries, (due_s, request.id, request.task))
