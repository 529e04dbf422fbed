"""What the server asks of a running machine: this interface, and the nouns it speaks in."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from cotenant.core.model import Signature
from cotenant.core.record import Record
from cotenant.core.request import Answer, Tensors
from cotenant.core.task import Task


class State(StrEnum):
    """Whether a task can be asked."""

    LOADING = "loading"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    UNLOADED = "unloaded"


class Served(NamedTuple):
    """One task of a running machine."""

    task: Task
    version: str
    state: State
    reason: str
    """Why it is not ready; empty when it is."""
    signature: Signature | None
    """`None` until it has loaded."""
    component: str
    kind: str = "cpu"
    """The component's."""


class Runtime(Protocol):
    """A running machine. All methods are called from one event loop."""

    @property
    def served(self) -> Mapping[str, Served]:
        """Every known task by name, whatever its state."""

    @property
    def policy_name(self) -> str: ...

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
        """Queue a request and wait for its answer; times are relative to now.

        Cancelling this coroutine cancels the request. The answer's `error` is set, not
        raised, so that the caller always has the record.

        Raises:
            NotFound: no such task.
            NotReady: the task is loading or has failed.
            ShuttingDown: the machine drains.
        """

    async def load(self, task: Task, version: str = "1") -> None:
        """Load (or replace) a task; returns when it is ready, raises `ModelError` otherwise.

        Where the new files cannot be read, what was served before stays.
        """

    async def unload(self, task: str) -> None:
        """Let queued and running work end, then forget the task's model.

        Work that waits for a lane to come back is answered with `NotReady`: it may never do so.
        """

    def queued(self, task: str) -> int:
        """Requests of the task that wait now."""

    def slowdown(self, task: str) -> float | None:
        """Latency beside others over latency alone, as the guard sees it now."""

    def lane_pids(self) -> Mapping[str, int]:
        """Process of each task's lane."""

    def lane_restarts(self, task: str) -> int:
        """How often the task's lane has died and been restarted."""

    @property
    def pressed(self) -> bool:
        """Whether critical work fills a component now, so that all else had better wait."""

    def when_eased(self, call: Callable[[], None]) -> None:
        """Have `call` called once, as soon as that has ended."""

    def pauses_s(self) -> Mapping[str, Sequence[float]]:
        """Of each elastic component, its last times from the flag until it was free."""

    async def drain(self, timeout_s: float) -> bool:
        """Take nothing new, let the rest end; false if some had to be cut off."""

    def subscribe(self, listener: "RecordListener") -> None:
        """Have `listener` called with each record as it is made."""


class RecordListener(Protocol):
    """Something that wants every record (metrics, statistics, a file)."""

    def __call__(self, record: Record) -> None: ...
