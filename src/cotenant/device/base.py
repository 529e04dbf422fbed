"""What the coordinator asks of a machine: load, launch, limit, and say what happened.

A device never blocks: `load` and `launch` begin something, and `poll` tells, some time
later, how it went. `device/cpu` runs real models; `device/null` runs none, on a virtual
clock. Both are driven by the same coordinator.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from cotenant.core.errors import CotenantError
from cotenant.core.hardware import Component
from cotenant.core.model import Signature
from cotenant.core.request import Request, Tensors
from cotenant.core.task import Task


class Isolation(StrEnum):
    """What a policy wants the operating system to do about criticality."""

    NONE = "none"
    """Every lane in the ordinary scheduling class."""
    CLASSES = "classes"
    """Critical lanes above, best-effort lanes below everything else."""


class Spinning(StrEnum):
    """What the threads of a lane do while they have nothing to do."""

    ALWAYS = "always"
    """ONNX Runtime's default: threads keep spinning after a run."""
    WITHIN_RUN = "within-run"
    """They spin between operators, and sleep between runs."""
    NEVER = "never"


class Allowance(NamedTuple):
    """How much of a component best-effort work may use, as the guard sees it now."""

    width: int
    """Cores that best-effort threads may run on."""
    duty: float
    """Fraction of time, 0 to 1, that they may run."""


class Loaded(NamedTuple):
    """A task's model is in place (again, after a restart) and can take launches."""

    task: str
    signature: Signature | None
    """`None` where no real model is behind the task."""


class LoadFailed(NamedTuple):
    """A task's model cannot be served."""

    task: str
    error: CotenantError


class Completed(NamedTuple):
    """A segment of a launch ended well."""

    task: str
    start_s: float
    end_s: float
    busy_s: float
    """Component-seconds that it used: processor time over width; what fair shares count."""
    outputs: Sequence[Tensors] | None
    """One mapping for each request of the launch, after the last segment."""


class Failed(NamedTuple):
    """A launch ended badly. A lost lane restarts by itself and says `Loaded` when it is back."""

    task: str
    error: CotenantError
    lane_lost: bool


Event = Loaded | LoadFailed | Completed | Failed


class Device(Protocol):
    """One machine, or a part of it."""

    @property
    def components(self) -> tuple[Component, ...]: ...

    def load(self, task: Task, component: str) -> None:
        """Begin to load the task's model; `Loaded` or `LoadFailed` follows."""

    def unload(self, task: str) -> None:
        """Forget a task that has nothing in flight."""

    def launch(self, task: str, requests: Sequence[Request], segment: int) -> None:
        """Begin one segment of a batch; `Completed` or `Failed` follows.

        At most one launch of a task is in flight; all segments of a batch see the same
        requests.
        """

    def limit(self, component: str, allowance: Allowance) -> None:
        """Hold best-effort work on the component to the allowance."""

    def poll(self) -> Sequence[Event]:
        """What has happened since the last call; empty if nothing."""

    def close(self) -> None:
        """Let go of everything; nothing of it stays behind."""


class Hardware(Device, Protocol):
    """A device with real models on it, as an event loop and a server see it."""

    def fileno(self) -> int:
        """Readable whenever `poll` has something to say."""

    def lanes(self) -> Mapping[str, tuple[int | None, int]]:
        """Process number (`None` while it starts) and restarts of each task's interpreter."""

    def check(self, task: Task) -> None:
        """Find a placed task's model as `load` would; takes its time, so call it from a thread.

        Raises:
            ModelError: it is missing, damaged or unsafe.
        """

    def pauses_s(self) -> Mapping[str, Sequence[float]]:
        """Of each elastic component, its last times from the flag until it was free."""
