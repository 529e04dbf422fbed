"""When a batch is due and how large it may be: a task's view goes in, a launch or a wait comes out.

A batch never waits, and never grows, past what the SLO or the deadline of its oldest
request allows; where the service time of a batch is unknown, only one request runs.
"""

from cotenant.policy.base import Launch, TaskView, Wake


def next_batch(view: TaskView, now_s: float) -> Launch | Wake:
    """Launch the largest batch that is in time, or wait for more requests until one is due."""
    batch = view.task.batch
    if batch.max_size == 1 or (view.batchable <= 1 and batch.max_delay_s == 0.0):
        return Launch(view.task.name)
    requests = _largest_in_time(view, now_s)
    if requests == view.batchable < batch.max_size:
        due_s = _due_s(view, requests + 1)
        if now_s < due_s:
            return Wake(due_s)
    return Launch(view.task.name, requests)


def _largest_in_time(view: TaskView, now_s: float) -> int:
    latest_end_s = _latest_end_s(view)
    for requests in range(view.batchable, 1, -1):
        estimate_s = view.estimate_s(requests)
        if estimate_s is not None and (latest_end_s is None or now_s + estimate_s <= latest_end_s):
            return requests
    return 1


def _due_s(view: TaskView, requests: int) -> float:
    due_s = view.oldest_arrival_s + view.task.batch.max_delay_s
    latest_end_s = _latest_end_s(view)
    if latest_end_s is None:
        return due_s
    estimate_s = view.estimate_s(requests)
    # With no estimate nothing says that a wait would still be in time: do not wait.
    return view.oldest_arrival_s if estimate_s is None else min(due_s, latest_end_s - estimate_s)


def _latest_end_s(view: TaskView) -> float | None:
    slo = view.task.slo
    ends = [
        end_s
        for end_s in (
            view.oldest_arrival_s + slo.latency_s if slo else None,
            view.head_deadline_s,
        )
        if end_s is not None
    ]
    return min(ends, default=None)
