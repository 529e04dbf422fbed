"""A machine without models: it answers by arithmetic, and does what a test tells it to."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import CotenantError, NotFound, ShuttingDown
from cotenant.core.model import Signature, TensorSpec
from cotenant.core.record import Outcome, Record
from cotenant.core.request import Answer, Request, Tensors
from cotenant.core.task import Batch, Criticality, Queue, Task
from cotenant.runtime.base import RecordListener, Served, State

DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "object"),
)


def _served(task: Task, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> Served:
    signature = Signature(tuple(inputs), tuple(outputs))
    return Served(task, "1", State.READY, "", signature, "cpu")


def _models() -> dict[str, Served]:
    def task(name: str, **fields: object) -> Task:
        return Task.model_validate({"name": name, "model": f"{name}.onnx", **fields})

    models = [
        _served(
            task("double", batch=Batch(max_size=4), queue=Queue(priority_levels=3)),
            [TensorSpec("x", "float32", (None, 4))],
            [TensorSpec("y", "float32", (None, 4))],
        ),
        _served(
            task("pair", criticality=Criticality.CRITICAL),
            [TensorSpec("a", "float32", (2,)), TensorSpec("b", "int64", (2,))],
            [TensorSpec("sum", "float64", (2,)), TensorSpec("difference", "float64", (2,))],
        ),
        _served(task("slow"), [TensorSpec("x", "uint8", (1,))], [TensorSpec("y", "uint8", (1,))]),
        _served(
            task("image"),
            [TensorSpec("x", "float32", (1, 3, 224, 224))],
            [TensorSpec("y", "float32", (1, 3, 224, 224))],
        ),
    ]
    models += [
        _served(
            task(f"echo-{dtype}"),
            [TensorSpec("x", dtype, (None, None))],
            [TensorSpec("y", dtype, (None, None))],
        )
        for dtype in DTYPES
    ]
    return {served.task.name: served for served in models}


class FakeRuntime:
    """Keeps what it was asked, so that a test can look at it."""

    def __init__(self) -> None:
        self.served: dict[str, Served] = _models()
        self._template = self.served["double"]
        self.policy_name = "fake"
        self.asked: list[dict[str, object]] = []
        self.fail_with: CotenantError | None = None
        self.slow_running = 0
        self.cancelled = 0
        self.release: asyncio.Event
        self.closed = False
        self._draining = False
        self._listeners: list[RecordListener] = []
        self._clock = MonotonicClock()
        self._ids = itertools.count(1)
        self.pressed = False
        self._when_eased: list[Callable[[], None]] = []
        self._open: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        self.release = asyncio.Event()

    async def close(self) -> None:
        self.closed = True
        for future in self._open:
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
        if self._draining:
            raise ShuttingDown("the fake drains")
        arrival_s = self._clock.now()
        self.asked.append(
            {"task": task, "rows": rows, "level": level, "timeout_s": timeout_s}
            | {"deadline_s": deadline_s}
        )
        request = Request(next(self._ids), task, arrival_s, rows=rows, inputs=inputs)
        if task == "slow":
            await self._slowly(request)
        if self.fail_with is not None:
            failed = self._record(request, Outcome.FAILED)
            return Answer(request, failed, None, self.fail_with)
        return Answer(request, self._record(request, Outcome.OK), self._outputs(task, inputs), None)

    async def load(self, task: Task, version: str = "1") -> None:
        self.served[task.name] = self._template._replace(task=task, version=version)

    async def unload(self, task: str) -> None:
        if task not in self.served:
            raise NotFound(task)
        self.served[task] = self.served[task]._replace(state=State.UNLOADED, reason="unloaded")

    def queued(self, task: str) -> int:
        return 7

    def slowdown(self, task: str) -> float | None:
        return 1.02 if task == "pair" else None

    def lane_pids(self) -> Mapping[str, int]:
        return {"pair": 4711}

    def lane_restarts(self, task: str) -> int:
        return 3

    def when_eased(self, call: Callable[[], None]) -> None:
        self._when_eased.append(call)

    def ease(self) -> None:
        self.pressed = False
        calls, self._when_eased = self._when_eased, []
        for call in calls:
            call()

    def pauses_s(self) -> Mapping[str, Sequence[float]]:
        return {"gpu0": [0.001, 0.003], "idle": []}

    async def drain(self, timeout_s: float) -> bool:
        self._draining = True
        if not self._open:
            return True
        _, cut_off = await asyncio.wait(self._open, timeout=timeout_s)
        return not cut_off

    def subscribe(self, listener: RecordListener) -> None:
        self._listeners.append(listener)

    def become(self, task: str, state: State) -> None:
        self.served[task] = self.served[task]._replace(state=state)

    async def _slowly(self, request: Request) -> None:
        self.slow_running += 1
        future = asyncio.ensure_future(self._released())
        self._open.add(future)
        try:
            await future
        except asyncio.CancelledError:
            self.cancelled += 1
            self._record(request, Outcome.CANCELLED)
            raise
        finally:
            self._open.discard(future)
            self.slow_running -= 1

    async def _released(self) -> None:
        await self.release.wait()

    def _outputs(self, task: str, inputs: Tensors) -> Tensors:
        if task == "double":
            return {"y": inputs["x"] * 2}
        if task == "pair":
            a, b = inputs["a"].astype(np.float64), inputs["b"].astype(np.float64)
            return {"sum": a + b, "difference": a - b}
        return {"y": inputs["x"]}

    def _record(self, request: Request, outcome: Outcome) -> Record:
        ran = outcome is Outcome.OK
        now_s = self._clock.now()
        record = Record(
            id=request.id,
            task=request.task,
            critical=self.served[request.task].task.critical,
            outcome=outcome,
            arrival_s=request.arrival_s,
            start_s=request.arrival_s if ran else None,
            end_s=now_s,
            component="cpu" if ran else None,
            width=1 if ran else None,
            batch=1 if ran else 0,
            segments=((request.arrival_s, now_s),) if ran else (),
            alone=ran,
            rows=request.rows,
            batch_rows=request.rows if ran else 0,
        )
        for listener in self._listeners:
            listener(record)
        return record
