"""Baseline: Miriam's halved shards, ranked for each pair of kernels; nothing is paused."""

from dataclasses import dataclass, field

from cotenant.device.base import Isolation, Spinning
from cotenant.device.sharing import Sharing
from cotenant.policy.at_once import at_once
from cotenant.policy.base import Action, Snapshot
from cotenant.policy.sharing.miriam import MiriamSharing


@dataclass(frozen=True)
class Miriam:
    """See `sharing/miriam.py`."""

    name: str = "miriam"
    isolation: Isolation = Isolation.NONE
    spinning: Spinning = Spinning.WITHIN_RUN
    sharing: Sharing = field(default_factory=MiriamSharing)
    by_kernel: bool = True

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        return at_once(snapshot, now_s, best_effort_max=1)
