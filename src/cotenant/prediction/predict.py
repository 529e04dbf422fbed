"""A workload and a profile go in; what each task will see, and whether it fits, comes out."""

from collections.abc import Callable, Mapping

import numpy as np

from cotenant.core.errors import Unsupported, WorkloadError
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.prediction.figures import Figures, Prediction
from cotenant.prediction.station import Stay, station
from cotenant.prediction.tenancy import Mix, Tenancy, mix_of
from cotenant.profiling.profile import Profile, Subject
from cotenant.queueing.stream import Sojourn, Unstable

Simulate = Callable[[Workload, Profile, Mix], Mapping[str, Stay]]
"""Workload, its profile and the mix go in, each task's stay comes out."""

_OVERLAPPING = ("cotenant", "concurrent")


def predict(
    workload: Workload,
    profile: Profile,
    subject_of: Callable[[Task, Workload], Subject],
    *,
    simulate: Simulate | None = None,
    always: bool = False,
    seed: int = 0,
) -> Prediction:
    """Compose the closed forms; `simulate`, where given, answers for what they do not cover.

    With `always` it answers for everything.

    Raises:
        WorkloadError: a task without arrivals, or that the profile lacks, or whose policy's
            scheduling classes were not those of the profile.
        Unsupported: a mix that no closed form covers, and no `simulate`.
    """
    overlapping = workload.policy in _OVERLAPPING
    mix = mix_under(workload, profile, subject_of)
    notes = mix.notes
    answer_all = station(workload.policy, profile.preemptive)
    rng = np.random.default_rng(seed)
    stays: dict[str, Stay] = {}
    batching = [one.task.name for one in mix.tenancies if one.task.batch.max_size > 1]
    # How much launches slow each other depends on when they meet: no closed form knows.
    entangled = bool(batching) or (overlapping and any(mix.excess.values()))
    if simulate is None or not (always or entangled):
        for component in dict.fromkeys(one.component for one in mix.tenancies):
            here = [one for one in mix.tenancies if one.component == component]
            try:
                stays |= answer_all(here, rng)
            except Unsupported:
                if simulate is None:
                    raise
    if simulate is not None:
        kept = _held(mix, stays)
        if len(kept) < len(mix.calm):
            stays = {**simulate(workload, profile, mix), **kept}
    elif batching:
        notes += (f"batching of {', '.join(batching)} is not counted: an upper bound",)
    return Prediction(tuple(_figures(one, stays[one.task.name]) for one in mix.tenancies), notes)


def _held(mix: Mix, stays: Mapping[str, Stay]) -> dict[str, Stay]:
    """The tasks for which a closed form holds; that too much work arrives is an answer, too."""
    full = sum(one.load for one in mix.calm) >= 1.0
    return {
        name: one
        for name, one in stays.items()
        if one.exact or (full and isinstance(one.answer, Unstable))
    }


def mix_under(
    workload: Workload, profile: Profile, subject_of: Callable[[Task, Workload], Subject]
) -> Mix:
    """The mix of the workload's tasks under its policy; raises `WorkloadError` as `predict`."""
    overlapping = workload.policy in _OVERLAPPING
    if overlapping and profile.policy != workload.policy:
        raise WorkloadError(
            f"the profile was measured under policy {profile.policy!r}, whose interference is "
            f"not that of {workload.policy!r}; run 'cotenant profile' with this policy"
        )
    return mix_of(workload, profile, subject_of, overlapping)


def _figures(one: Tenancy, stay: Stay) -> Figures:
    answer = stay.answer
    task, overhead_s = one.task, one.around_s
    rate_rps = one.rate_rps if stay.throughput_rps is None else stay.throughput_rps
    offered_rps = 0.0 if rate_rps is None else rate_rps
    if isinstance(answer, Unstable):
        # What is over capacity is lost: a queue that fills answers with an error.
        dropped = 1.0 - 1.0 / max(1.0, answer.utilization)
        return Figures(
            task=task.name,
            critical=task.critical,
            mean_s=None,
            p50_s=None,
            p95_s=None,
            p99_s=None,
            utilization=one.load,
            throughput_rps=offered_rps * (1.0 - dropped),
            attainment=None if task.slo is None else 0.0,
            dropped=dropped,
            slowdown=one.slowdown,
            binding=f"utilization, full with {answer.culprit!r}",
            used=answer.utilization,
            fits=False,
            culprit=answer.culprit,
            method=stay.method,
        )

    def quantile_s(quantile: float) -> float | None:
        known_s = answer.quantile_s(quantile)
        return None if known_s is None else known_s + overhead_s

    patience = _patience(one, answer)
    patience_s, _ = patience
    law = answer.law
    dropped = 0.0 if law is None or one.rate_rps is None else float(law.tail(patience_s)[0])
    attainment = None
    if stay.dropped is not None:
        dropped = stay.dropped
        if task.slo is not None and law is not None:
            late = float(law.tail(task.slo.latency_s - overhead_s)[0])
            attainment = (1.0 - dropped) * (1.0 - late)
    elif task.slo is not None and law is not None:
        within_s = min(task.slo.latency_s - overhead_s, patience_s)
        attainment = 1.0 - float(law.tail(max(0.0, within_s))[0])
    used, binding = _binding(one, answer, quantile_s, patience)
    return Figures(
        task=task.name,
        critical=task.critical,
        mean_s=answer.mean_s + overhead_s,
        p50_s=quantile_s(0.5),
        p95_s=quantile_s(0.95),
        p99_s=quantile_s(0.99),
        utilization=offered_rps * one.service.mean_s,
        throughput_rps=offered_rps * (1.0 - dropped),
        attainment=attainment,
        dropped=dropped,
        slowdown=one.slowdown,
        binding=binding,
        used=used,
        fits=used <= 1.0 and (stay.dropped is None or _attained(task, attainment)),
        culprit=None,
        method=stay.method,
    )


def _attained(task: Task, attainment: float | None) -> bool:
    return task.slo is None or (attainment or 0.0) >= task.slo.quantile


def _patience(one: Tenancy, answer: Sojourn) -> tuple[float, str]:
    """The sojourn beyond which a request is given up, and why: a bound on what is lost."""
    task, mean_s = one.task, one.service.mean_s
    beyond_s = answer.mean_s - answer.waiting_s  # one service as it is seen in the queue
    reasons = [((task.queue.max_size + 1) * max(beyond_s, mean_s), "queue size")]
    if task.queue.timeout_s is not None:
        reasons.append((task.queue.timeout_s + mean_s, "queue timeout"))
    if task.deadline_s is not None:
        reasons.append((task.deadline_s, "deadline"))
    return min(reasons)


def _binding(
    one: Tenancy,
    answer: Sojourn,
    quantile_s: Callable[[float], float | None],
    patience: tuple[float, str],
) -> tuple[float, str]:
    constraints = []
    slo = one.task.slo
    if one.rate_rps is not None:
        constraints.append((answer.utilization, "utilization"))
    stays_s = None if slo is None else quantile_s(slo.quantile)
    if slo is not None and stays_s is not None:
        constraints.append((stays_s / slo.latency_s, f"SLO at p{100 * slo.quantile:g}"))
        if one.rate_rps is not None:
            constraints.append((stays_s / patience[0], patience[1]))
    elif slo is not None:
        constraints.append((answer.mean_s / slo.latency_s, "SLO against the mean"))
    return max(constraints, default=(0.0, "none: it takes what is left"))
