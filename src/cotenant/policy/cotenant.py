"""The default policy: critical tasks start at once, best-effort tasks share all that is left.

Critical work goes first by order. Where the component is preemptive, the operating system
takes the cores away from best-effort work the moment critical work starts; where it is elastic,
the rule in `sharing/cotenant.py` does the same kernel by kernel; where it is only gated,
best-effort segments start when no critical work waits or runs, but for one segment each
`floor_s`, so that nothing starves.

Best-effort tasks divide what is left by fair queueing: a task that is ahead of its share
waits for the others, including one whose client is just about to send the next request. What was
used before all of them last rested is forgotten (`runtime/shares.py`).
"""

from dataclasses import dataclass, field

from cotenant.core.hardware import Capability
from cotenant.device.base import Isolation, Spinning
from cotenant.device.sharing import Sharing
from cotenant.policy.base import (
    Action,
    ComponentView,
    Launch,
    Limit,
    Snapshot,
    TaskView,
    Wake,
)
from cotenant.policy.batching import next_batch
from cotenant.policy.sharing.cotenant import CotenantSharing

# A member of an enumeration is slow to look up.
_GATED, _ELASTIC = Capability.GATED, Capability.ELASTIC


@dataclass(frozen=True)
class Cotenant:
    """See the module's text; the fields are the policy's only knobs."""

    side_by_side: int = 2
    """Best-effort launches in flight on one component."""
    streams: int = 8
    """The same where it is elastic: what runs side by side there is for its own rule to say."""
    slack_s: float = 0.1
    """Lead over the neediest best-effort task at which a task has to wait."""
    anticipation_s: float = 0.003
    """How long a task still counts as wanting service after its last launch ended."""
    floor_s: float = 1.0
    """On a gated component, best-effort work gets one segment at least this often."""

    name: str = "cotenant"
    isolation: Isolation = Isolation.CLASSES
    spinning: Spinning = Spinning.WITHIN_RUN
    sharing: Sharing = field(default_factory=CotenantSharing)
    by_kernel: bool = False

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        actions: list[Action] = []
        for place in snapshot.components:
            name = place.component.name
            if place.allowance != place.limit:
                actions.append(Limit(name, place.allowance))
            critical: list[TaskView] = []
            best_effort: list[TaskView] = []
            for view in snapshot.tasks:
                if view.queued and view.ready and view.component == name:
                    (critical if view.critical else best_effort).append(view)
            if not critical and not best_effort:
                continue
            gated = place.component.capability is _GATED
            if gated and place.running:
                continue
            first = _critical(place, critical, now_s) if critical else []
            second = self._best_effort(place, best_effort, snapshot, now_s) if best_effort else []
            if not gated:
                actions += first
                actions += second
            elif self._starved(place, best_effort, now_s):
                actions += _to_first_launch(second + first)
            else:
                actions += _to_first_launch(first + second)
        return tuple(actions)

    def _starved(self, place: ComponentView, waiting: list[TaskView], now_s: float) -> bool:
        """Whether best-effort work has waited on a gated component for its floor."""
        oldest_s = min((view.oldest_arrival_s for view in waiting), default=now_s)
        return now_s - max(place.best_effort_start_s, oldest_s) >= self.floor_s

    def _best_effort(
        self, place: ComponentView, waiting: list[TaskView], snapshot: Snapshot, now_s: float
    ) -> list[Launch | Wake]:
        elastic = place.component.capability is _ELASTIC
        free = self.streams if elastic else self.side_by_side
        for one in place.running:
            free -= not one.critical
        if free <= 0:
            return []
        name, neediest = place.component.name, waiting[0]
        for view in snapshot.tasks:
            if (
                view.consumed_s < neediest.consumed_s
                and not view.critical
                and view.component == name
                and self._wants_service(view, now_s)
            ):
                neediest = view
        ahead_s = neediest.consumed_s + self.slack_s
        actions: list[Launch | Wake] = []
        for view in sorted(waiting, key=_need) if len(waiting) > 1 else waiting:
            if view.consumed_s > ahead_s:
                # While the neediest runs there is nothing to decide before its end.
                if not neediest.running:
                    actions.append(Wake(now_s + self.anticipation_s))
                break
            action = next_batch(view, now_s)
            actions.append(action)
            if isinstance(action, Launch):
                free -= 1
                if not free:
                    break
        return actions

    def _wants_service(self, view: TaskView, now_s: float) -> bool:
        """It waits and could start, or runs, or its client is about to send the next request.

        A task whose lane is being restarted is none of these: nobody waits for it.
        """
        if view.queued and view.ready:
            return True
        return view.running > 0 or now_s < view.idle_since_s + self.anticipation_s


def _critical(place: ComponentView, waiting: list[TaskView], now_s: float) -> list[Launch | Wake]:
    whole = place.component.width
    free, top = whole, 0
    for one in place.running:
        if one.critical:
            free -= one.width
            top = max(top, one.order)
    actions: list[Launch | Wake] = []
    for view in sorted(waiting, key=_order) if len(waiting) > 1 else waiting:
        width = view.task.width or whole
        # Side by side where there is room for both; over the others where it outranks them.
        if width > free and view.task.priority <= top:
            continue
        action = next_batch(view, now_s)
        actions.append(action)
        if isinstance(action, Launch):
            free -= width
            top = max(top, view.task.priority)
    return actions


def _to_first_launch(actions: list[Launch | Wake]) -> list[Launch | Wake]:
    for position, action in enumerate(actions):
        if isinstance(action, Launch):
            return actions[: position + 1]
    return actions


def _order(view: TaskView) -> tuple[int, float]:
    return -view.task.priority, view.oldest_arrival_s


def _need(view: TaskView) -> tuple[float, float]:
    return view.consumed_s, view.oldest_arrival_s
