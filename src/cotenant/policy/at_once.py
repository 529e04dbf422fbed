"""Critical tasks at once, best-effort tasks a few at a time: what policies by kernel share.

Such a policy lets everybody onto the device, and its rule for kernels (`sharing/`) decides what
becomes of it there. Best-effort tasks take turns by what they have received so far.
"""

from cotenant.policy.base import Action, Launch, Snapshot
from cotenant.policy.batching import next_batch


def at_once(snapshot: Snapshot, now_s: float, best_effort_max: int | None) -> tuple[Action, ...]:
    """Launch every critical task that waits, and best-effort ones up to so many in flight.

    Args:
        best_effort_max: for each component; `None` for all of them.
    """
    actions: list[Action] = []
    for place in snapshot.components:
        waiting = [
            view
            for view in snapshot.tasks
            if view.queued and view.ready and view.component == place.component.name
        ]
        critical = [view for view in waiting if view.critical]
        for view in sorted(critical, key=lambda one: (-one.task.priority, one.oldest_arrival_s)):
            actions.append(next_batch(view, now_s))
        running = len([one for one in place.running if not one.critical])
        free = len(waiting) if best_effort_max is None else best_effort_max - running
        best_effort = [view for view in waiting if not view.critical]
        for view in sorted(best_effort, key=lambda one: (one.consumed_s, one.oldest_arrival_s)):
            if free <= 0:
                break
            actions.append(next_batch(view, now_s))
            free -= isinstance(actions[-1], Launch)
    return tuple(actions)
