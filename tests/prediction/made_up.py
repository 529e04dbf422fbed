"""Profiles of models that do not exist: service times go in, a `Profile` comes out."""

from collections.abc import Mapping, Sequence

from cotenant.core.task import Criticality, Task
from cotenant.core.workload import Workload
from cotenant.profiling.profile import LEVELS, Alone, Beside, Profile, ServiceTime, Subject


def subject_of(task: Task, workload: Workload) -> Subject:
    return subject(task.model, task.criticality, task.segments)


def subject(model: str, criticality: str = "best-effort", segments: int = 1) -> Subject:
    return Subject(
        graph_hash=model, criticality=Criticality(criticality), width=2, segments=segments
    )


def fixed(time_s: float) -> ServiceTime:
    """Always the same time."""
    return ServiceTime(
        n=9, mean_s=time_s, second_moment_s2=time_s**2, quantiles_s=(time_s,) * len(LEVELS)
    )


def made_up(
    service: Mapping[str, float | ServiceTime],
    slowdown: Mapping[tuple[str, str], float] | None = None,
    by_segment: Mapping[str, Sequence[ServiceTime]] | None = None,
    **changes: object,
) -> Profile:
    """Critical and best-effort in one: `slowdown` is of (measured, beside), a busy neighbour."""
    parts = {model: tuple((by_segment or {}).get(model, ())) for model in service}
    alone = tuple(
        Alone(
            subject=subject(model, segments=max(1, len(parts[model]))),
            batch=1,
            model=model,
            service=time if isinstance(time, ServiceTime) else fixed(time),
            relative_error=0.0,
            overhead_s=0.0,
            load_s=0.1,
            memory_bytes=1,
            by_segment=parts[model],
        )
        for model, time in service.items()
    )
    beside = tuple(
        Beside(subject=subject(a, ca), other=subject(b, cb), n=1, slowdown=factor, busy=1.0)
        for (a, b), factor in (slowdown or {}).items()
        for ca, cb in (("critical", "best-effort"), ("best-effort", "best-effort"))
    )
    content = {
        "policy": "cotenant",
        "preemptive": True,
        "machine": {"cores": 2},
        "versions": {"cotenant": "0"},
        "alone": alone,
        "beside": beside,
    }
    return Profile(**{**content, **changes})  # type: ignore[arg-type]


def task(name: str, model: str, rate_rps: float | None, kind: str = "poisson", **about) -> Task:  # type: ignore[no-untyped-def]
    arrivals = {"kind": "closed-loop"} if rate_rps is None else {"kind": kind, "rate": rate_rps}
    return Task(name=name, model=model, arrivals=arrivals, **about)
