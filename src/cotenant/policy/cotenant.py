"""The default policy: critical tasks start at once, best-effort tasks share all that is left.

Critical work goes first by order. Where the component is preemptive, the operating system
takes the cores away from best-effort work the moment critical work starts; where it is only
gated, best-effort segments start when no critical work waits or runs, but for one segment
each `floor_s`, so that nothing starves.

Best-effort tasks divide what is left by fair queueing: a task that is ahead of its share
waits for the others, including one whose client is just about to send the next request.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cotenant.core.hardware import Capability
from cotenant.device.base import Isolation, Spinning
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


@dataclass(frozen=True)
class Cotenant:
    """See the module's text; the fields are the policy's only knobs."""

    side_by_side: int = 2
    """Best-effort launches in flight on one component."""
    slack_s: float = 0.1
    """Lead over the neediest best-effort task at which a task has to wait."""
    anticipation_s: float = 0.003
    """How long a task still counts as wanting service after its last launch ended."""
    floor_s: float = 1.0
    """On a gated component, best-effort work gets one segment at least this often."""

    name: str = "cotenant"
    isolation: Isolation = Isolation.CLASSES
    spinning: Spinning = Spinning.WITHIN_RUN

    def decide(self, snapshot: Snapshot, now_s: float) -> tuple[Action, ...]:
        actions: list[Action] = []
        for place in snapshot.components:
            if place.allowance != place.limit:
                actions.append(Limit(place.component.name, place.allowance))
            here = [view for view in snapshot.tasks if view.component == place.component.name]
            if place.component.capability is Capability.GATED:
                actions.extend(self._gated(place, here, now_s))
            else:
                actions.extend(_critical(place, here, now_s))
                actions.extend(self._best_effort(place, here, now_s))
        return tuple(actions)

    def _gated(
        self, place: ComponentView, here: list[TaskView], now_s: float
    ) -> Iterator[Launch | Wake]:
        if place.running:
            return
        starved_since_s = max(
            place.best_effort_start_s,
            min((v.oldest_arrival_s for v in here if _waits(v, critical=False)), default=now_s),
        )
        first, second = _critical(place, here, now_s), self._best_effort(place, here, now_s)
        if now_s - starved_since_s >= self.floor_s:
            first, second = second, first
        for action in (*first, *second):
            yield action
            if isinstance(action, Launch):
                return

    def _best_effort(
        self, place: ComponentView, here: list[TaskView], now_s: float
    ) -> Iterator[Launch | Wake]:
        free = self.side_by_side - sum(not running.critical for running in place.running)
        if free <= 0:
            return
        waiting = [view for view in here if _waits(view, critical=False)]
        if not waiting:
            return
        neediest_s = min(
            view.consumed_s
            for view in here
            if not view.task.critical
            and (view.queued or view.running or now_s < view.idle_since_s + self.anticipation_s)
        )
        for view in sorted(waiting, key=_need):
            if view.consumed_s > neediest_s + self.slack_s:
                yield Wake(now_s + self.anticipation_s)
                return
            action = next_batch(view, now_s)
            yield action
            if isinstance(action, Launch):
                free -= 1
                if not free:
                    return


def _critical(place: ComponentView, here: list[TaskView], now_s: float) -> Iterator[Launch | Wake]:
    running = [one for one in place.running if one.critical]
    free = place.component.width - sum(one.width for one in running)
    top = max((one.order for one in running), default=0)
    waiting = [view for view in here if _waits(view, critical=True)]
    for view in sorted(waiting, key=_order):
        width = view.task.width or place.component.width
        # Side by side where there is room for both; over the others where it outranks them.
        if width > free and view.task.priority <= top:
            continue
        action = next_batch(view, now_s)
        yield action
        if isinstance(action, Launch):
            free -= width
            top = max(top, view.task.priority)


def _waits(view: TaskView, *, critical: bool) -> bool:
    return view.task.critical is critical and view.ready and view.queued > 0


def _order(view: TaskView) -> tuple[int, float]:
    return -view.task.priority, view.oldest_arrival_s


def _need(view: TaskView) -> tuple[float, float]:
    return view.consumed_s, view.oldest_arrival_s
