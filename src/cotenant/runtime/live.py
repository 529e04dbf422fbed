"""The coordinator on real time: a workload goes in, coroutines that answer requests come out.

Everything here runs in one event loop. The loop wakes the coordinator when a request
arrives, when a device has something to say, and when a time it asked for has come.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cotenant.core.clock import Clock, MonotonicClock
from cotenant.core.errors import (
    CotenantError,
    NotFound,
    NotReady,
    ShuttingDown,
)
from cotenant.core.model import Signature
from cotenant.core.record import Record
from cotenant.core.request import Answer, Tensors
from cotenant.core.task import Task
from cotenant.core.units import format_duration
from cotenant.core.workload import Workload
from cotenant.device.base import Event, Failed, Isolation, Loaded, LoadFailed
from cotenant.device.cpu.scheduling import Rung, enter_front, standing
from cotenant.policy import check_policy, policy_by_name
from cotenant.runtime.base import RecordListener, Served, State
from cotenant.runtime.coordinator import Coordinator
from cotenant.runtime.guard import Guard
from cotenant.runtime.hardware import housed, open_hardware

_log = logging.getLogger("cotenant")

_PROBES = 24
"""Requests that each critical task serves alone before the doors open: the guard's baseline."""
_FEW_PROBES = 3
"""The same for a best-effort task with an SLO: enough to see an SLO that can never be kept."""
_PROBE_GAP_S = 0.05
"""Gap where the task's rate is not known; a shorter one would find the caches too warm."""


class LiveRuntime:
    """A running machine; see `runtime.base.Runtime` for what each method promises."""

    def __init__(
        self,
        workload: Workload,
        policy: str | None = None,
        clock: Clock | None = None,
        highest: Rung | None = None,
    ) -> None:
        """Look what the machine has.

        `highest` is the best rung of protection to use; see `device/cpu/scheduling.py`.

        Raises:
            WorkloadError: no such policy, or no component that runs a task's kind of model.
            DeviceError: a component's device is not there.
        """
        self._workload = workload
        self._policy = policy_by_name(policy or workload.policy)
        self._clock = clock or MonotonicClock()
        self._guard = Guard()
        self._standing = standing(highest)
        self._rung = self._standing.rung
        self._device = open_hardware(workload.components, self._policy, self._rung)
        try:
            check_policy(self._policy, self._device.components)
            for task in workload.tasks:
                housed(task, self._device.components)
        except CotenantError:
            self._device.close()
            raise
        self._coordinator = Coordinator(
            self._device,
            self._policy,
            self._clock,
            guard=self._guard,
            answer=self._answered,
            on_event=self._on_event,
        )
        self._served: dict[str, Served] = {}
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._probes: set[int] = set()
        self._loads: dict[str, asyncio.Future[None]] = {}
        self._leaving: dict[str, asyncio.Event] = {}
        self._listeners: list[RecordListener] = []
        self._draining = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._step_due = False
        self._when_eased: list[Callable[[], None]] = []

    @property
    def served(self) -> Mapping[str, Served]:
        return self._served

    @property
    def policy_name(self) -> str:
        return self._policy.name

    @property
    def protection(self) -> str:
        """What the operating system does for critical work here, in one line."""
        if self._policy.isolation is Isolation.NONE:
            return f"none: policy {self._policy.name} treats all alike"
        return str(self._standing)

    async def start(self) -> None:
        """Load every task of the workload and learn the critical ones' latency alone.

        Raises:
            ModelError: a task cannot be served; nothing of the machine stays behind.
        """
        weak = self._policy.isolation is Isolation.CLASSES and self._rung is not Rung.FIFO_IDLE
        _log.log(
            logging.WARNING if weak else logging.INFO,
            "protection of critical work is %s",
            self._standing,
        )
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._device.fileno(), self._step)
        try:
            async with asyncio.TaskGroup() as loads:
                for task in self._workload.tasks:
                    loads.create_task(self._load(task, "1"))
        except ExceptionGroup as failed:
            await self.close()
            raise failed.exceptions[0] from None
        for task in self._workload.tasks:
            await self._learn_baseline(task.name)

    def lead(self) -> None:
        """Put the calling thread, and those that it starts, above every lane.

        For a program that does nothing but serve: then not even a critical inference on all
        cores can hold up a timeout or another task's request.
        """
        enter_front(self._rung)

    async def close(self) -> None:
        """End every lane; nothing stays behind."""
        self._draining = self._closed = True
        asyncio.get_running_loop().remove_reader(self._device.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._device.close()
        for future in self._waiting.values():
            if not future.done():
                future.cancel()

    async def infer(
        self,
        task: str,
        inputs: Tensors,
        *,
        rows: int = 1,
        level: int = 0,
        timeout_s: float | None = None,
        deadline_s: float | None = None,
    ) -> Answer:
        self._admit(task)
        request = self._coordinator.request(
            task,
            inputs,
            rows=rows,
            level=level,
            timeout_s=timeout_s,
            deadline_s=deadline_s,
        )
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[request.id] = future
        self._coordinator.submit(request)
        self._step_soon()
        try:
            return await future
        except asyncio.CancelledError:
            self._coordinator.cancel(request)
            self._step_soon()
            raise
        finally:
            self._waiting.pop(request.id, None)

    async def load(self, task: Task, version: str = "1") -> None:
        if task.name in self._served:
            if self._served[task.name].state in (State.READY, State.RESTARTING):
                # What cannot be read must not take the place of what is served.
                placed = housed(task, self._device.components)
                await asyncio.to_thread(self._device.check, placed)
            await self.unload(task.name)
        await self._load(task, version)
        await self._learn_baseline(task.name)

    async def unload(self, task: str) -> None:
        served = self._served.get(task)
        if served is None:
            raise NotFound(f"Request for unknown model: {task!r} is not found")
        if served.state in (State.UNLOADED, State.FAILED):
            return
        restarting = served.state is State.RESTARTING
        self._become(task, State.UNLOADED, "it was unloaded")
        if self._coordinator.busy(task) and not restarting:
            self._leaving[task] = asyncio.Event()
            await self._leaving[task].wait()
            del self._leaving[task]
        self._coordinator.remove(task, NotReady(f"task {task!r} was unloaded"))

    def queued(self, task: str) -> int:
        return self._coordinator.queued(task)

    def slowdown(self, task: str) -> float | None:
        return self._guard.slowdown(task)

    def lane_pids(self) -> Mapping[str, int]:
        return {name: pid for name, (pid, _) in self._device.lanes().items() if pid is not None}

    def lane_restarts(self, task: str) -> int:
        _, restarts = self._device.lanes().get(task, (None, 0))
        return restarts

    @property
    def pressed(self) -> bool:
        return self._coordinator.pressed

    def when_eased(self, call: Callable[[], None]) -> None:
        self._when_eased.append(call)

    def pauses_s(self) -> Mapping[str, Sequence[float]]:
        return self._device.pauses_s()

    async def drain(self, timeout_s: float) -> bool:
        self._draining = True
        if not self._waiting:
            return True
        _, cut_off = await asyncio.wait(self._waiting.values(), timeout=timeout_s)
        return not cut_off

    def subscribe(self, listener: RecordListener) -> None:
        self._listeners.append(listener)

    # --- the loop --------------------------------------------------------------------------

    def _step_soon(self) -> None:
        # Requests that arrive together are decided about together.
        if not self._step_due:
            self._step_due = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._step_due = False
        if self._closed:
            return
        wake_s = self._coordinator.step()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task, empty in self._leaving.items():
            if not self._coordinator.busy(task):
                empty.set()
        if self._when_eased and not self._coordinator.pressed:
            calls, self._when_eased = self._when_eased, []
            for call in calls:
                self._loop.call_soon(call)
        if wake_s is not None:
            self._timer = self._loop.call_later(max(0.0, wake_s - self._clock.now()), self._step)

    def _answered(self, answer: Answer) -> None:
        future = self._waiting.get(answer.request.id)
        if future is not None and not future.done():
            future.set_result(answer)
        if answer.request.id not in self._probes:
            # Behind the answer, which a client waits for.
            self._loop.call_soon(self._publish, answer.record)

    def _publish(self, record: Record) -> None:
        for listener in self._listeners:
            listener(record)

    def _on_event(self, event: Event) -> None:
        if self._served[event.task].state is State.UNLOADED:
            if isinstance(event, Failed) and event.lane_lost and event.task in self._leaving:
                self._leaving[event.task].set()  # nobody waits for a lane that may never be back
            return
        if isinstance(event, Loaded):
            self._become(event.task, State.READY, "", event.signature)
            self._settle(event.task, None)
        elif isinstance(event, LoadFailed):
            self._become(event.task, State.FAILED, str(event.error))
            self._settle(event.task, event.error)
        elif isinstance(event, Failed) and event.lane_lost:
            _log.warning("%s", event.error)
            self._become(event.task, State.RESTARTING, str(event.error))

    def _settle(self, task: str, error: CotenantError | None) -> None:
        loading = self._loads.pop(task, None)
        if loading is None or loading.done():
            return
        if error is None:
            loading.set_result(None)
        else:
            loading.set_exception(error)

    def _become(
        self, task: str, state: State, reason: str, signature: Signature | None = None
    ) -> None:
        served = self._served[task]
        self._served[task] = served._replace(
            state=state, reason=reason, signature=signature or served.signature
        )

    async def _load(self, task: Task, version: str) -> None:
        task = housed(task, self._device.components)
        loading: asyncio.Future[None] = self._loop.create_future()
        self._loads[task.name] = loading
        place = self._coordinator.add(task)
        self._served[task.name] = Served(
            task, version, State.LOADING, "", None, place.name, place.kind
        )
        try:
            await loading
        except CotenantError as error:
            self._coordinator.remove(task.name, error)
            self._become(task.name, State.FAILED, str(error))
            raise

    async def _learn_baseline(self, task: str) -> None:
        """Serve a task's own requests, a little apart: how long does it take alone?

        The guard compares with it, and an SLO that cannot be met even alone is told at once.
        Only where the shapes are known: the time of one shape says nothing about another.
        """
        served = self._served[task]
        inputs = None if served.signature is None else _sample(served.signature)
        if inputs is None or not (served.task.critical or served.task.slo):
            return
        rate_rps = getattr(served.task.arrivals, "rate_rps", None)
        gap_s = _PROBE_GAP_S if rate_rps is None else min(1.0 / rate_rps, 2 * _PROBE_GAP_S)
        sojourns_s = []
        for _ in range(_PROBES if served.task.critical else _FEW_PROBES):
            answer = await self._probe(task, inputs)
            if answer.error is not None:
                _log.warning("no baseline for task %r: %s", task, answer.error)
                return
            sojourns_s.append(answer.record.sojourn_s)
            await asyncio.sleep(gap_s)
        slo, alone_s = served.task.slo, float(np.median(sojourns_s))
        if slo is not None and slo.latency_s < alone_s:
            _log.warning(
                "task %r: its SLO of %s is under its own latency alone, %s (median of %d); "
                "no policy can keep it: raise slo.latency or choose a smaller model",
                task,
                format_duration(slo.latency_s),
                format_duration(alone_s),
                len(sojourns_s),
            )

    async def _probe(self, task: str, inputs: Tensors) -> Answer:
        request = self._coordinator.request(task, inputs)
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[request.id] = future
        self._probes.add(request.id)
        self._coordinator.submit(request)
        self._step_soon()
        try:
            return await future
        finally:
            del self._waiting[request.id]
            self._probes.discard(request.id)

    def _admit(self, task: str) -> None:
        served = self._served.get(task)
        if served is None:
            raise NotFound(f"Request for unknown model: {task!r} is not found")
        if self._draining:
            raise ShuttingDown("the server is shutting down and takes no new requests")
        if served.state not in (State.READY, State.RESTARTING):
            raise NotReady(f"task {task!r} is {served.state}: {served.reason or 'try again later'}")


def _sample(signature: Signature) -> Tensors | None:
    """Some input of one row; `None` where a request chooses more than the batch axis."""
    shapes = [
        tuple(1 if size is None and axis == 0 else size for axis, size in enumerate(spec.shape))
        for spec in signature.inputs
    ]
    rng = np.random.default_rng(0)
    tensors = {}
    for spec, shape in zip(signature.inputs, shapes, strict=True):
        known = [size for size in shape if size is not None]
        if len(known) < len(shape) or spec.dtype == "object":
            return None
        tensors[spec.name] = rng.random(known).astype(spec.dtype)
    return tensors
