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
    start_s: float
    alone: bool
    segments: tuple[tuple[float, float], ...] = ()
    """Those that have ended."""

    @property
    def rows(self) -> int:
        return sum(request.rows for request in self.requests)


@dataclass(slots=True)
class Tenant:
    """The coordinator's own state of a task; nobody else changes it."""

    task: Task
    component: str
    width: int
    backlog: Backlog = field(init=False)
    estimate: ServiceEstimate = field(default_factory=ServiceEstimate)
    loaded: bool = False
    flight: Flight | None = None
    on_device: bool = False
    """A segment of the flight runs now."""
    consumed_s: float = 0.0
    idle_since_s: float = float("-inf")
    view: TaskView = field(init=False)
    """What policies see; replaced whenever something above has changed."""

    def __post_init__(self) -> None:
        self.backlog = Backlog(self.task.queue, self.task.batch.max_size)
        self.refresh()

    def refresh(self) -> None:
        """Make the view anew."""
        backlog, flight = self.backlog, self.flight
        paused = flight is not None and not self.on_device
        # A batch between two segments is the first thing that waits, and goes on as it is.
        first = flight.requests[0] if paused and flight is not None else backlog.head()
        self.view = TaskView(
            task=self.task,
            component=self.component,
            ready=self.loaded and not self.on_device,
            queued=len(backlog) + paused,
            batchable=1 if paused else backlog.batchable(),
            oldest_arrival_s=0.0 if first is None else first.arrival_s,
            head_deadline_s=None if first is None else first.deadline_s,
            running=int(self.on_device),
            idle_since_s=self.idle_since_s,
            consumed_s=self.consumed_s,
            estimate_s=self.expected_s,
        )

    def expected_s(self, requests: int) -> float | None:
        """Expected service time of the first so many requests as one batch."""
        return self.estimate.of(max(1, self.backlog.rows(requests)))
