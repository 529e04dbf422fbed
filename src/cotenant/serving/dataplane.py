"""Calls of either protocol become requests to the machine; answers and facts come back.

REST and gRPC only convert: every rule about what a client may ask for stands here.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from cotenant import __version__
from cotenant.core.errors import (
    CotenantError,
    ExecutionError,
    InvalidRequest,
    ModelError,
    NotFound,
    NotReady,
    ShuttingDown,
    Unsupported,
)
from cotenant.core.request import Tensor
from cotenant.core.task import Task
from cotenant.runtime.base import Runtime, Served, State
from cotenant.serving.admission import Load
from cotenant.serving.describe import describe_config, describe_metadata
from cotenant.serving.form import Form, GivenTensor, Slot
from cotenant.serving.statistics import Statistics

_LONGEST_S = 86_400.0
_EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
_INDEX_STATE = {
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.RESTARTING: "UNAVAILABLE",
    State.FAILED: "UNAVAILABLE",
    State.UNLOADED: "UNAVAILABLE",
}


class Catalog(Protocol):
    """Where models that are not loaded yet can be found."""

    def names(self) -> Sequence[str]: ...

    def find(self, name: str) -> tuple[Task, str]:
        """The task and its version; raises `NotFound` or `ModelError`."""


class InferCall(NamedTuple):
    """An inference as a client asked for it."""

    model: str
    version: str
    """Empty: whichever is served."""
    inputs: Sequence[GivenTensor] | memoryview
    """Bytes alone are a raw body: the only input of the model."""
    outputs: Sequence[str]
    """Empty: all."""
    parameters: Mapping[str, Any]
    remaining_s: float | None = None
    """What is left of the transport's own deadline."""


class Inferred(NamedTuple):
    """What a client gets."""

    model: str
    version: str
    outputs: Sequence[tuple[Slot, Tensor]]


class DataPlane:
    """The one door between protocols and machine."""

    def __init__(
        self,
        runtime: Runtime,
        statistics: Statistics,
        catalog: Catalog | None = None,
        max_tensor_bytes: int = 64 * 2**20,
        strict_readiness: bool = False,
        *,
        load: Load | None = None,
    ) -> None:
        """`load` is the way of a model of the catalog into the machine; straight when absent."""
        self.runtime = runtime
        self.statistics = statistics
        self._catalog = catalog
        self._load = load or runtime.load
        self._max_tensor_bytes = max_tensor_bytes
        self._strict_readiness = strict_readiness
        self._open = False
        self._forms: dict[str, tuple[Served, Form]] = {}

    # Inference

    async def infer(self, call: InferCall) -> Inferred:
        """Check a call against the model's form, have it run, and select its outputs."""
        served, form = self._form(call.model, call.version)
        given = call.inputs
        if isinstance(given, memoryview):
            given = (form.raw_input(given),)
        slots = form.chosen(call.outputs)
        tensors, rows = form.read(given)
        level, timeout_s, deadline_s = _promises(call, served.task)
        try:
            answer = await self.runtime.infer(
                call.model,
                tensors,
                rows=rows,
                level=level,
                timeout_s=timeout_s,
                deadline_s=deadline_s,
            )
        except asyncio.CancelledError as cut_off:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            # Not the client went away, but the machine: its client still wants to be told.
            raise ShuttingDown("the server was shut down before the request ended") from cut_off
        if answer.error is not None:
            raise answer.error
        outputs = answer.outputs
        if outputs is None or any(slot.name not in outputs for slot in slots):
            raise ExecutionError(f"model {call.model!r} did not give all of its outputs")
        return Inferred(call.model, served.version, [(slot, outputs[slot.name]) for slot in slots])

    # Health

    def ready(self) -> bool:
        """Whether the server as a whole can be sent requests.

        A best-effort lane that restarts does not turn clients away from critical tasks,
        unless readiness was asked to be strict.
        """
        return self._open and all(
            served.state is State.READY
            for served in self.runtime.served.values()
            if self._strict_readiness or served.task.critical
        )

    def model_ready(self, model: str, version: str = "") -> bool:
        return self._served(model, version).state is State.READY and self._open

    def open(self) -> None:
        """Say that the server has started: every task that it starts with has loaded."""
        self._open = True

    async def drain(self, timeout_s: float) -> bool:
        """Turn unready, take nothing new, and let the rest end; false if some was cut off."""
        self._open = False
        return await self.runtime.drain(timeout_s)

    # Facts

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "cotenant", "version": __version__, "extensions": list(_EXTENSIONS)}

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        served, form = self._form(model, version)
        return describe_metadata(served, form)

    def config(self, model: str, version: str = "") -> dict[str, Any]:
        served, form = self._form(model, version)
        return describe_config(served, form)

    def model_statistics(self, model: str = "", version: str = "") -> dict[str, Any]:
        """Statistics of one model, or of all when `model` is empty."""
        chosen = [self._served(model, version)] if model else list(self.runtime.served.values())
        return {
            "model_stats": [
                self.statistics.describe(served.task.name, served.version) for served in chosen
            ]
        }

    def lanes(self) -> dict[str, Any]:
        """Each task's lane, for people and for the bench.

        `pauses_s` are, of each elastic component, its last times from the moment when critical
        work arrived until the device was free of best-effort work.
        """
        pids = self.runtime.lane_pids()
        return {
            "policy": self.runtime.policy_name,
            "lanes": [
                {
                    "task": name,
                    "criticality": served.task.criticality.value,
                    "state": served.state.value,
                    "reason": served.reason,
                    "pid": pids.get(name),
                    "restarts": self.runtime.lane_restarts(name),
                    "queued": self.runtime.queued(name),
                    "slowdown": self.runtime.slowdown(name),
                    "component": served.component,
                }
                for name, served in self.runtime.served.items()
            ],
            "pauses_s": {name: list(each) for name, each in self.runtime.pauses_s().items()},
        }

    # Repository

    def index(self, only_ready: bool = False) -> list[dict[str, str]]:
        """Every model that is known, loaded or not."""
        rows = [
            {
                "name": name,
                "version": served.version,
                "state": _INDEX_STATE[served.state],
                "reason": served.reason,
            }
            for name, served in self.runtime.served.items()
        ]
        known = self.runtime.served
        rows += [
            {"name": name, "version": "", "state": "UNAVAILABLE", "reason": "not loaded"}
            for name in (self._catalog.names() if self._catalog else ())
            if name not in known
        ]
        return [row for row in rows if not only_ready or row["state"] == "READY"]

    async def load(self, model: str, parameters: Mapping[str, Any]) -> None:
        """Load a model of the repository, or load it anew."""
        catalog = self._explicit()
        if parameters:
            raise Unsupported(
                f"failed to load {model!r}: parameters are not supported; "
                "change config.pbtxt in the repository and load again"
            )
        try:
            task, version = catalog.find(model)
            await self._load(task, version)
        except NotFound:
            raise
        except CotenantError as error:
            raise type(error)(f"failed to load {model!r}: {error}") from error

    async def unload(self, model: str) -> None:
        self._explicit()
        self._served(model)
        await self.runtime.unload(model)

    def _explicit(self) -> Catalog:
        if self._catalog is None:
            raise Unsupported(
                "explicit model load and unload is not allowed here; start the server with "
                "--model-repository DIR --model-control-mode explicit"
            )
        return self._catalog

    # Lookups

    def _served(self, model: str, version: str = "") -> Served:
        served = self.runtime.served.get(model)
        if served is None:
            raise NotFound(
                f"Request for unknown model: {model!r} is not found; there is "
                f"{', '.join(repr(name) for name in self.runtime.served) or 'none'}"
            )
        if version and version != served.version:
            raise NotFound(
                f"Request for unknown model: {model!r} version {version!r} is not found; "
                f"version {served.version!r} is served"
            )
        return served

    def _form(self, model: str, version: str) -> tuple[Served, Form]:
        served = self._served(model, version)
        known = self._forms.get(model)
        if (
            known is not None
            and known[0].signature is served.signature
            and known[0].task is served.task
        ):
            return served, known[1]
        if served.signature is None:
            reason = served.reason or served.state.value
            raise NotReady(f"model {model!r} is not ready: {reason}; try again later")
        try:
            form = Form.of(
                model, served.signature, served.task.batch.max_size, self._max_tensor_bytes
            )
        except ModelError as error:
            raise Unsupported(f"model {model!r} cannot be served: {error}") from error
        self._forms[model] = (served, form)
        return served, form


def _promises(call: InferCall, task: Task) -> tuple[int, float | None, float | None]:
    """Level, queue timeout and deadline of a call; times are relative to now."""
    parameters, remaining_s = call.parameters, call.remaining_s
    if remaining_s is not None:
        remaining_s = min(remaining_s, _LONGEST_S)
    if not parameters:
        return 0, None, remaining_s
    if parameters.get("sequence_id"):
        raise Unsupported("sequences are not supported; send each request without sequence_id")
    level = _whole(parameters, "priority")
    levels = task.queue.priority_levels
    if levels and level > levels:
        raise InvalidRequest(
            f"priority {level} was sent; model {call.model!r} has levels 1 (first) to {levels}"
        )
    timeout_s = _microseconds(parameters, "timeout")
    deadline_s = _microseconds(parameters, "deadline_us")
    if deadline_s is None or (remaining_s is not None and remaining_s < deadline_s):
        deadline_s = remaining_s
    return (level if levels else 0), timeout_s, deadline_s


def _whole(parameters: Mapping[str, Any], name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or value < 0:
        raise InvalidRequest(f"parameter {name!r} is {value!r}; send a whole number, 0 or more")
    return value


def _microseconds(parameters: Mapping[str, Any], name: str) -> float | None:
    """A time parameter in seconds; 0 means the model's default."""
    value_s = _whole(parameters, name) * 1e-6
    if value_s > _LONGEST_S:
        raise InvalidRequest(
            f"parameter {name!r} is {value_s:.3g} s; send at most {_LONGEST_S:.0f} s, "
            "in microseconds, or leave it out"
        )
    return value_s or None
