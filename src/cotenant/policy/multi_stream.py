"""Baseline: a stream for each task, the critical ones of higher priority."""

from dataclasses import dataclass, field

from cotenant.device.base import Isolation, Spinning
from cotenant.device.sharing import Sharing
from cotenant.policy.at_once import at_once
from cotenant.policy.base import Action, Snapshot
from cotenant.policy.sharing.multi_stream import MultiStreamSharing


@dataclass(frozen=True)
class MultiStream:
    """As one does today who knows of streams; see `sharing/multi_stream.py`."""

    name: str = "multi-stream"
    isolation: Isolation = Isolation.NONE
    spinning: Spinning = Spinning.WITHIN_RUN
    sharing: Sharing = field(default_factory=MultiStreamSharing)
    by_kernel: bool = True

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        return at_once(snapshot, now_s, best_effort_max=None)
