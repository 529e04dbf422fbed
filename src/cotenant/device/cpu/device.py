"""The machine's own processor as a device: tasks and launches go in, events come out.

Every task has a lane: an interpreter of its own, with its tensors in shared memory and its
threads in the scheduling class of its criticality. A lane that dies is started again.
"""

import os
import queue
import selectors
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from cotenant.core.errors import CotenantError, LaneLost, ModelError
from cotenant.core.hardware import Capability, Component, allowed_cores
from cotenant.core.model import ModelFiles, Signature, TensorSpec
from cotenant.core.request import Request
from cotenant.core.task import Task
from cotenant.core.units import format_duration
from cotenant.device.base import (
    Allowance,
    Completed,
    Event,
    Failed,
    Isolation,
    Loaded,
    LoadFailed,
    Spinning,
)
from cotenant.device.cpu.duty import Duty
from cotenant.device.cpu.lane import Lane, Role, failure
from cotenant.device.cpu.scheduling import Rung, release_children

_BACKOFF_S = (0.0, 0.1, 0.5, 2.0, 10.0)
"""Pause before a restart, by how often the lane has died without a single answer."""


class CpuDevice:
    """Core sets of this machine. All methods are called from one thread and never block."""

    def __init__(
        self,
        cores: dict[str, tuple[int, ...]],
        resolve: Callable[[Task], ModelFiles],
        rung: Rung,
        isolation: Isolation = Isolation.CLASSES,
        spinning: Spinning = Spinning.WITHIN_RUN,
    ) -> None:
        """`resolve` finds a task's model files; it may take its time, in a thread of its own."""
        self._resolve = resolve
        self._rung = rung
        self._isolation = isolation
        self._spinning = spinning
        capability = Capability.GATED if rung is Rung.GATED else Capability.PREEMPTIVE
        self._components = {
            name: Component(name, "cpu", numbers, capability) for name, numbers in cores.items()
        }
        self._tenancies: dict[str, _Tenancy] = {}
        self._limits = {name: Allowance(len(numbers), 1.0) for name, numbers in cores.items()}
        self._duties = {name: Duty(partial(self._best_effort, name)) for name in cores}
        self._started: queue.SimpleQueue[tuple[_Tenancy, Lane | CotenantError]] = (
            queue.SimpleQueue()
        )
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.EpollSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._closing = threading.Event()
        self._ringing = threading.Lock()
        """Held while the bell is rung, so that it is not closed meanwhile."""
        self._cores = allowed_cores()

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(self._components.values())

    def fileno(self) -> int:
        """Readable whenever `poll` has something to say; for an event loop."""
        return self._selector.fileno()

    def lanes(self) -> dict[str, tuple[int | None, int]]:
        """Process number (`None` while it starts) and restarts of each task's lane."""
        return {
            name: (None if one.lane is None else one.lane.pid, one.restarts)
            for name, one in self._tenancies.items()
        }

    def check(self, task: Task) -> None:
        """Find the task's model as `load` would; takes its time, so call it from a thread.

        Raises:
            ModelError: it is missing, damaged or unsafe.
        """
        release_children(self._cores)
        self._resolve(task)

    def pauses_s(self) -> dict[str, tuple[float, ...]]:
        """Nothing: the operating system does not tell when it has taken a core away."""
        return {}

    def load(self, task: Task, component: str) -> None:
        tenancy = _Tenancy(task, self._components[component], self._first_core(task, component))
        self._tenancies[task.name] = tenancy
        self._start(tenancy)

    def unload(self, task: str) -> None:
        tenancy = self._tenancies.pop(task)
        tenancy.gone = True
        self._drop(tenancy)

    def launch(self, task: str, requests: Sequence[Request], segment: int) -> None:
        tenancy = self._tenancies[task]
        tenancy.requests = tuple(requests)
        if tenancy.lane is not None:  # a lane that has just died says so at the next poll
            tenancy.lane.launch(requests, segment)

    def limit(self, component: str, allowance: Allowance) -> None:
        self._limits[component] = allowance
        for lane in self._best_effort(component):
            self._confine(lane, component)
        self._duties[component].set(allowance.duty)

    def poll(self) -> Sequence[Event]:
        events: list[Event] = []
        for key, _ in self._selector.select(0):
            if key.fd == self._bell:
                os.eventfd_read(self._bell)
                self._welcome(events)
            else:
                self._hear(key.data, events)
        return events

    def close(self) -> None:
        with self._ringing:
            self._closing.set()
        for duty in self._duties.values():
            duty.set(1.0)
        for task in list(self._tenancies):
            self.unload(task)
        self._turn_away()
        self._selector.close()
        os.close(self._bell)

    # --- starting --------------------------------------------------------------------------

    def _start(self, tenancy: "_Tenancy", pause_s: float = 0.0) -> None:
        threading.Thread(
            target=self._start_lane, args=(tenancy, self._role(tenancy), pause_s), daemon=True
        ).start()

    def _start_lane(self, tenancy: "_Tenancy", role: Role, pause_s: float) -> None:
        if self._closing.wait(pause_s) or tenancy.gone:
            return
        release_children(self._cores)
        started: Lane | CotenantError
        try:
            if tenancy.files is None:
                tenancy.files = self._resolve(tenancy.task)
            started = Lane(tenancy.files, role)
        except CotenantError as error:
            started = error
        except OSError as error:
            started = ModelError(f"task {tenancy.task.name!r}: cannot start its lane: {error}")
        self._started.put((tenancy, started))
        with self._ringing:
            if not self._closing.is_set():
                os.eventfd_write(self._bell, 1)
                return
        self._turn_away()  # it was closed meanwhile, and nobody else will look

    def _turn_away(self) -> None:
        """End the lanes that have started and found nobody; two threads may do so at once."""
        with suppress(queue.Empty):
            while True:
                _, lane = self._started.get_nowait()
                if isinstance(lane, Lane):
                    lane.close()

    def _first_core(self, task: Task, component: str) -> int:
        """Where the lane's first thread goes, which also does what cannot be shared out.

        Critical lanes take turns, and begin where the front hands them their requests; those of
        best-effort lanes, which run together, are spread from the other end.
        """
        if task.critical:
            return 0
        taken = Counter(
            one.first_core
            for one in self._tenancies.values()
            if one.component.name == component and not one.task.critical
        )
        cores = range(len(self._components[component].cores))
        return min(reversed(cores), key=taken.__getitem__)

    def _role(self, tenancy: "_Tenancy") -> Role:
        task, cores = tenancy.task, tenancy.component.cores
        cores = cores[tenancy.first_core :] + cores[: tenancy.first_core]
        kind = "ordinary" if self._isolation is Isolation.NONE else task.criticality.value
        untouched = self._spinning is Spinning.ALWAYS and task.width is None
        return Role(
            kind=kind,
            order=task.priority,
            rung=self._rung,
            cores=cores,
            width=0 if untouched else min(task.width or len(cores), len(cores)),
            # Below the ordinary class a spinning thread only keeps a core from its own siblings:
            # measured, it halves best-effort throughput.
            spinning=Spinning.NEVER if kind == "best-effort" else self._spinning,
        )

    def _welcome(self, events: list[Event]) -> None:
        while not self._started.empty():
            tenancy, lane = self._started.get()
            if isinstance(lane, CotenantError):
                events.append(LoadFailed(tenancy.task.name, lane))
            elif tenancy.gone:
                lane.close()
            else:
                tenancy.lane = lane
                self._selector.register(lane.channel, selectors.EVENT_READ, tenancy)

    # --- hearing ---------------------------------------------------------------------------

    def _hear(self, tenancy: "_Tenancy", events: list[Event]) -> None:
        lane, task = tenancy.lane, tenancy.task.name
        if lane is None:
            return
        try:
            message = lane.receive()
        except BlockingIOError:
            return
        if message is None:
            self._mourn(tenancy, events)
        elif "loaded" in message:
            if lane.role.kind == "best-effort":
                self._confine(lane, tenancy.component.name)
            tenancy.loaded = True
            events.append(Loaded(task, _signature(message["loaded"])))
        elif "unloadable" in message:
            self._drop(tenancy)
            events.append(LoadFailed(task, ModelError(f"task {task!r}: {message['unloadable']}")))
        elif "done" in message:
            tenancy.deaths = 0
            try:
                outputs = lane.outputs(message["done"], tenancy.requests)
            except CotenantError as error:
                events.append(Failed(task, error, lane_lost=False))
                return
            busy_s = message["busy_s"] / tenancy.component.width
            events.append(Completed(task, message["start_s"], message["end_s"], busy_s, outputs))
        else:
            events.append(Failed(task, failure(message, task), lane_lost=False))

    def _mourn(self, tenancy: "_Tenancy", events: list[Event]) -> None:
        self._drop(tenancy)
        task = tenancy.task.name
        if not tenancy.loaded:
            error = ModelError(
                f"task {task!r}: its interpreter died while it loaded {tenancy.task.model!r}; "
                "is there enough memory for it?"
            )
            events.append(LoadFailed(task, error))
            return
        pause_s = _BACKOFF_S[min(tenancy.deaths, len(_BACKOFF_S) - 1)]
        tenancy.restarts += 1
        tenancy.deaths += 1
        when = f"in {format_duration(pause_s)}" if pause_s else "at once"
        lost = LaneLost(
            f"task {task!r}: its interpreter died and restarts {when}; try again. "
            f"Deaths since its last answer: {tenancy.deaths}"
        )
        # Only what was in flight fails, and it is not run again: it may be what ended the lane.
        events.append(Failed(task, lost, lane_lost=True))
        self._start(tenancy, pause_s)

    def _drop(self, tenancy: "_Tenancy") -> None:
        if tenancy.lane is not None:
            self._selector.unregister(tenancy.lane.channel)
            tenancy.lane.close()
            tenancy.lane = None

    # --- limits ----------------------------------------------------------------------------

    def _best_effort(self, component: str) -> list[Lane]:
        return [
            one.lane
            for one in list(self._tenancies.values())
            if one.lane is not None
            and one.component.name == component
            and one.lane.role.kind == "best-effort"
        ]

    def _confine(self, lane: Lane, component: str) -> None:
        cores = self._components[component].cores
        # The last cores: the first ones take most of the machine's interrupts.
        lane.confine(cores[-self._limits[component].width :])


class _Tenancy:
    """One task's place on this device, whichever lane serves it now."""

    def __init__(self, task: Task, component: Component, first_core: int) -> None:
        self.task = task
        self.component = component
        self.first_core = first_core
        """Index among the component's cores."""
        self.files: ModelFiles | None = None
        self.lane: Lane | None = None
        self.requests: tuple[Request, ...] = ()
        self.loaded = False
        self.restarts = 0
        self.deaths = 0
        self.gone = False


def _signature(loaded: dict[str, list[tuple[str, str, list[int | None]]]]) -> Signature:
    def specs(nodes: list[tuple[str, str, list[int | None]]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name, dtype, tuple(shape)) for name, dtype, shape in nodes)

    return Signature(specs(loaded["inputs"]), specs(loaded["outputs"]))
