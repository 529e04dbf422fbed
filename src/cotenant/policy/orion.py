"""Baseline: Orion's gate, kernels that are small and unlike the critical one."""

from dataclasses import dataclass, field

from cotenant.device.base import Isolation, Spinning
from cotenant.device.sharing import Sharing
from cotenant.policy.at_once import at_once
from cotenant.policy.base import Action, Snapshot
from cotenant.policy.sharing.orion import OrionSharing


@dataclass(frozen=True)
class Orion:
    """See `sharing/orion.py`."""

    name: str = "orion"
    isolation: Isolation = Isolation.NONE
    spinning: Spinning = Spinning.WITHIN_RUN
    sharing: Sharing = field(default_factory=OrionSharing)
    by_kernel: bool = True

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        return at_once(snapshot, now_s, best_effort_max=None)
