"""Baseline: everything at once, as sessions side by side do today."""

from dataclasses import dataclass, field
from functools import partial

from cotenant.device.base import Isolation, Spinning
from cotenant.device.sharing import Sharing
from cotenant.policy.base import Action, Snapshot
from cotenant.policy.batching import next_batch
from cotenant.policy.sharing.multi_stream import MultiStreamSharing


@dataclass(frozen=True)
class Concurrent:
    """One ONNX Runtime session for each model, with its defaults, and no order among them."""

    name: str = "concurrent"
    isolation: Isolation = Isolation.NONE
    spinning: Spinning = Spinning.ALWAYS
    sharing: Sharing = field(default_factory=partial(MultiStreamSharing, critical_first=False))
    by_kernel: bool = False

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        return tuple(
            next_batch(view, now_s) for view in snapshot.tasks if view.ready and view.queued
        )
