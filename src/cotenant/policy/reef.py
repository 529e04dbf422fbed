"""Baseline: REEF's padding, blocks that fit beside the critical kernel in units and time."""

from dataclasses import dataclass, field

from cotenant.device.base import Isolation, Spinning
from cotenant.device.sharing import Sharing
from cotenant.policy.at_once import at_once
from cotenant.policy.base import Action, Snapshot
from cotenant.policy.sharing.reef import ReefSharing


@dataclass(frozen=True)
class Reef:
    """See `sharing/reef.py`."""

    name: str = "reef"
    isolation: Isolation = Isolation.NONE
    spinning: Spinning = Spinning.WITHIN_RUN
    sharing: Sharing = field(default_factory=ReefSharing)
    by_kernel: bool = True

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        return at_once(snapshot, now_s, best_effort_max=1)
