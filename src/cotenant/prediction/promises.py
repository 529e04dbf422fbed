"""A prediction goes in; the critical promises that it breaks come out, in words."""

from collections.abc import Sequence

from cotenant.core.errors import WorkloadError
from cotenant.core.task import ClosedLoop, Task
from cotenant.core.units import format_duration
from cotenant.prediction.figures import Figures, Prediction


def broken(prediction: Prediction) -> tuple[Figures, ...]:
    """The critical tasks that would not keep what was promised of them."""
    return tuple(one for one in prediction.tasks if one.critical and not one.fits)


def with_load(task: Task) -> Task:
    """The task with a load to reckon with: best-effort work of unknown rate always asks.

    Raises:
        WorkloadError: a critical task whose rate is not known.
    """
    if task.arrivals is not None:
        return task
    if task.critical:
        raise WorkloadError(
            f"critical task {task.name!r} has no arrivals, so nothing can be promised for it; "
            "add 'arrivals: {kind: poisson, rate: 20/s}' to its workload file, or the parameters "
            "'arrivals' (poisson, periodic) and 'rate' (20/s) to its config.pbtxt"
        )
    return task.model_copy(update={"arrivals": ClosedLoop(kind="closed-loop")})


def told(figures: Sequence[Figures], tasks: Sequence[Task]) -> str:
    """Each broken promise: task, predicted quantile, SLO, and the constraint that binds."""
    by_name = {task.name: task for task in tasks}
    return "; ".join(_told(one, by_name[one.task]) for one in figures)


def _told(one: Figures, task: Task) -> str:
    binding = f"binding: {one.binding}, {one.used:.0%}"
    if one.culprit is not None:
        return f"task {one.task!r} would have no stable latency ({binding})"
    if task.slo is None:
        return f"task {one.task!r} would have mean {_time(one.mean_s)} ({binding})"
    known = {0.5: one.p50_s, 0.95: one.p95_s, 0.99: one.p99_s}
    quantile, target = task.slo.quantile, format_duration(task.slo.latency_s)
    predicted = f"p{100 * quantile:g} {_time(known[quantile])}" if quantile in known else ""
    kept = "" if one.attainment is None else f"{one.attainment:.2%} in time"
    figures = ", ".join(text for text in (predicted, kept) if text) or f"mean {_time(one.mean_s)}"
    return f"task {one.task!r} would have {figures}, its SLO is {target} ({binding})"


def _time(value_s: float | None) -> str:
    return "unknown" if value_s is None else format_duration(value_s)
