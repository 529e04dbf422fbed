"""One task of a running machine: its backlog, its flight, its share; views of it come out."""

from dataclasses import dataclass, field

from cotenant.core.request import Request
from cotenant.core.task import Task
from cotenant.policy.base import TaskView
from cotenant.runtime.backlog import Backlog
from cotenant.runtime.estimate import ServiceEstimate


@dataclass(slots=True)
class Flight:
    """A batch from its first segment's start to its last segment's end."""

    requests: tuple[Request, ...]
    rows: int
    start_s: float
    alone: bool = True
    """Nothing of another task has run beside it."""
    joined: bool = False
    """Something of another task was running when it started."""
    displaced: bool = False
    """Critical work that does not fit beside it ran on its component, and took its place."""
    segments: tuple[tuple[float, float], ...] = ()
    """Those that have ended."""
    service_s: float = 0.0
    """Seconds that they took."""


@dataclass(slots=True)
class Tenant:
    """The coordinator's own state of a task; nobody else changes it."""

    task: Task
    component: str
    width: int
    name: str = field(init=False)
    critical: bool = field(init=False)
    priority: int = field(init=False)
    segments: int = field(init=False)
    deadline_s: float | None = field(init=False)
    timeout_s: float | None = field(init=False)
    most_queued: int = field(init=False)
    backlog: Backlog = field(init=False)
    estimate: ServiceEstimate = field(default_factory=ServiceEstimate)
    loaded: bool = False
    flight: Flight | None = None
    on_device: bool = False
    """A segment of the flight runs now."""
    consumed_s: float = 0.0
    idle_since_s: float = float("-inf")

    def __post_init__(self) -> None:
        # What each request asks for stands here: reading it from the task takes several times
        # as long, which a simulation of a million requests feels.
        task = self.task
        self.name, self.critical, self.priority = task.name, task.critical, task.priority
        self.segments, self.deadline_s = task.segments, task.deadline_s
        self.timeout_s, self.most_queued = task.queue.timeout_s, task.queue.max_size
        self.backlog = Backlog(task.queue, task.batch.max_size)

    def view(self) -> TaskView:
        """What policies see, as it is now."""
        backlog, flight = self.backlog, self.flight
        if flight is None or self.on_device:
            first, queued = backlog.head(), backlog.size
            batchable = queued if queued < 2 else backlog.batchable()
        else:  # between two segments: it is the first thing that waits, and goes on as it is
            first, queued, batchable = flight.requests[0], backlog.size + 1, 1
        # By position: this is made anew several times for each request.
        return TaskView(
            self.task,
            self.critical,
            self.component,
            self.loaded and not self.on_device,
            queued,
            batchable,
            0.0 if first is None else first.arrival_s,
            None if first is None else first.deadline_s,
            int(self.on_device),
            self.idle_since_s,
            self.consumed_s,
            self.expected_s,
        )

    def expected_s(self, requests: int) -> float | None:
        """Expected service time of the first so many requests as one batch."""
        return self.estimate.of(max(1, self.backlog.rows(requests)))
