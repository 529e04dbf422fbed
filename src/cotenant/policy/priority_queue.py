"""Baseline: one launch at a time on a component, the most important task first."""

from dataclasses import dataclass, field

from cotenant.device.base import Isolation, Spinning
from cotenant.device.sharing import Sharing
from cotenant.policy.base import Action, Snapshot, TaskView
from cotenant.policy.one_at_a_time import one_at_a_time
from cotenant.policy.sharing.sequential import SequentialSharing


@dataclass(frozen=True)
class PriorityQueue:
    """Non-preemptive strict priority: what has started runs to its end."""

    name: str = "priority-queue"
    isolation: Isolation = Isolation.NONE
    spinning: Spinning = Spinning.WITHIN_RUN
    sharing: Sharing = field(default_factory=SequentialSharing)
    by_kernel: bool = False

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        return one_at_a_time(snapshot, now_s, _rank)


def _rank(view: TaskView) -> tuple[float, ...]:
    return not view.critical, -view.task.priority, view.oldest_arrival_s
