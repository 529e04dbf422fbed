"""Baseline: critical and best-effort kernels in rounds, with a barrier between."""

from dataclasses import dataclass, field

from cotenant.device.base import Isolation, Spinning
from cotenant.device.sharing import Sharing
from cotenant.policy.at_once import at_once
from cotenant.policy.base import Action, Snapshot
from cotenant.policy.sharing.inter_stream_barrier import InterStreamBarrierSharing


@dataclass(frozen=True)
class InterStreamBarrier:
    """See `sharing/inter_stream_barrier.py`."""

    name: str = "inter-stream-barrier"
    isolation: Isolation = Isolation.NONE
    spinning: Spinning = Spinning.WITHIN_RUN
    sharing: Sharing = field(default_factory=InterStreamBarrierSharing)
    by_kernel: bool = True

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        return at_once(snapshot, now_s, best_effort_max=1)
