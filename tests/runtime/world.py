"""A virtual world for tests: tasks and a script of arrivals go in, every answer comes out."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from cotenant.core.clock import VirtualClock
from cotenant.core.hardware import Capability, Component
from cotenant.core.request import Answer, Request
from cotenant.core.task import Task
from cotenant.device.base import Isolation
from cotenant.device.null import NullDevice, ServiceTime
from cotenant.policy import policy_by_name
from cotenant.runtime.coordinator import Coordinator
from cotenant.runtime.guard import Guard


@dataclass
class World:
    """The coordinator over `device/null`, driven to the end of its script."""

    tasks: list[Task]
    service: ServiceTime
    policy: str = "cotenant"
    capability: Capability = Capability.PREEMPTIVE
    cores: int = 2
    answers: list[Answer] = field(default_factory=list)
    submitted: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.chosen = policy_by_name(self.policy)
        isolation = (
            self.chosen.isolation if self.capability is Capability.PREEMPTIVE else Isolation.NONE
        )
        component = Component("null", "null", tuple(range(self.cores)), self.capability)
        self.device = NullDevice(self.clock, [component], self.service, isolation)
        self.coordinator = Coordinator(
            self.device, self.chosen, self.clock, guard=Guard(), answer=self.answers.append
        )
        for task in self.tasks:
            self.coordinator.add(task)
        self.coordinator.step()

    def run(self, arrivals: Iterable[tuple[float, str, dict[str, float | int | None]]]) -> None:
        """Submit at each time (sorted), then go on until nothing is left to happen."""
        pending = sorted(arrivals, key=lambda arrival: arrival[0])
        wake_s = None
        steps = 0
        while True:
            steps += 1
            assert steps < 10_000_000, "the coordinator asks to be woken for ever"
            due = [pending[0][0]] if pending else []
            due += [t for t in (self.device.next_event_s(), wake_s) if t is not None]
            if not due:
                return
            self.clock.advance_to(max(self.clock.now(), min(due)))
            while pending and pending[0][0] <= self.clock.now():
                _, task, options = pending.pop(0)
                request = self.coordinator.request(task, **options)  # type: ignore[arg-type]
                self.submitted.append(request)
                self.coordinator.submit(request)
            wake_s = self.coordinator.step()
