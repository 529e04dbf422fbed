"""One launch at a time on each component, in the order of a rank; two baselines share it."""

from collections.abc import Callable

from cotenant.policy.base import Action, Launch, Snapshot, TaskView
from cotenant.policy.batching import next_batch

Rank = Callable[[TaskView], tuple[float, ...]]


def one_at_a_time(snapshot: Snapshot, now_s: float, rank: Rank) -> tuple[Action, ...]:
    """On each idle component, launch the waiting task of the smallest rank that is due."""
    actions: list[Action] = []
    for place in snapshot.components:
        if place.running:
            continue
        name = place.component.name
        waiting = [
            view for view in snapshot.tasks if view.queued and view.ready and view.component == name
        ]
        for view in sorted(waiting, key=rank) if len(waiting) > 1 else waiting:
            actions.append(next_batch(view, now_s))
            if isinstance(actions[-1], Launch):
                break
    return tuple(actions)
