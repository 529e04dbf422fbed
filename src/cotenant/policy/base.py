"""What a policy sees and says: a frozen `Snapshot` goes in, a tuple of `Action` comes out.

A policy never touches a device, a queue or a clock, so it can be tested as data. A new
policy is one file with a class of this interface, and one line in `policy/__init__.py`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from cotenant.core.hardware import Component
from cotenant.core.task import Task
from cotenant.device.base import Allowance, Isolation, Spinning
from cotenant.device.sharing import Sharing


class Running(NamedTuple):
    """A launch that has not ended."""

    task: str
    critical: bool
    order: int
    """The task's priority."""
    width: int
    """Threads that it runs with."""
    requests: int
    start_s: float


class TaskView(NamedTuple):
    """One task as the policy sees it."""

    task: Task
    critical: bool
    """The task's criticality, which every decision asks for."""
    component: str
    """Where it was placed."""
    ready: bool
    """Its lane is free and can take a launch now."""
    queued: int
    """Requests that wait."""
    batchable: int
    """How many of the first ones could run as one batch; 1 without batching."""
    oldest_arrival_s: float
    """Arrival of the request that has waited longest; 0 when none waits."""
    head_deadline_s: float | None
    """Deadline of the request that would run next."""
    running: int
    """Launches in flight: 0 or 1."""
    idle_since_s: float
    """End of its last launch."""
    consumed_s: float
    """Component-seconds received so far, divided by the task's share."""
    estimate_s: Callable[[int], float | None]
    """Expected service time of the first so many requests as one batch; `None` while unknown."""


class ComponentView(NamedTuple):
    """One component as the policy sees it."""

    component: Component
    running: tuple[Running, ...]
    best_effort_start_s: float
    """When best-effort work last started here."""
    allowance: Allowance
    """What the guard asks for."""
    limit: Allowance
    """What the device was last told."""


class Snapshot(NamedTuple):
    """Everything a decision may depend on. Views are never mutated once they are in here."""

    tasks: Sequence[TaskView]
    components: Sequence[ComponentView]


class Launch(NamedTuple):
    """Start the first so many waiting requests of `task` as one batch."""

    task: str
    requests: int = 1


class Limit(NamedTuple):
    """Hold best-effort work on a component to this allowance from now on."""

    component: str
    allowance: Allowance


class Wake(NamedTuple):
    """Nothing to do yet; decide again at this time at the latest."""

    at_s: float


Action = Launch | Limit | Wake


class Policy(Protocol):
    """Who runs now. Frozen: all state is in the snapshot."""

    @property
    def name(self) -> str: ...

    @property
    def isolation(self) -> Isolation: ...

    @property
    def spinning(self) -> Spinning: ...

    @property
    def sharing(self) -> Sharing:
        """The rule by which an elastic device launches best-effort kernels."""

    @property
    def by_kernel(self) -> bool:
        """Whether that rule is all there is to it, so that it needs an elastic component."""

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        """What to do now.

        It is asked only while some task waits whose lane is free, or while the guard asks for
        another allowance than the device was told: there is nothing to decide before that.
        """
