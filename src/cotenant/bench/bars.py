"""Records and their summary go in, one row per promised figure comes out: value, bar, met."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from cotenant.bench.figures import Key, Sample, samples_by_key
from cotenant.bench.records import ALONE, Memory, Records
from cotenant.core.record import Outcome
from cotenant.core.task import Criticality

OWN_POLICY = "cotenant"
_LATE_FACTOR = 1.5
_ATTAINMENT_SLACK = 0.005  # one request in 200: what two phases alone differ by
_GROWTH_MAX = 1.10


class Bar(NamedTuple):
    """One promised figure."""

    scenario: str
    figure: str
    value: float | None
    """`None` where the run was broken off before it could be measured."""
    limit: float
    at_most: bool
    """Whether the limit is the largest or the smallest value allowed."""

    @property
    def met(self) -> bool:
        if self.value is None:
            return False
        return self.value <= self.limit if self.at_most else self.value >= self.limit


def amount(value: float) -> str:
    """As people read it.

    >>> amount(0.56789), amount(80_781.2)
    ('0.5679', '80,781')
    """
    return f"{value:,.0f}" if value >= 10_000.0 else f"{value:.4g}"


class _Promise(NamedTuple):
    slowdown_p50: float | None = None
    slowdown_p99: float | None = None
    best_effort_ratio: float | None = None


_PROMISES = {
    "squeezenet-resnet50": _Promise(1.03, 1.10, 0.95),
    "resnet50-vgg19": _Promise(1.03, 1.10, 0.95),
    "squeezenet-five": _Promise(slowdown_p99=1.15),
}


def judge(records: Records, summary: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Every bar that applies to what was run, in the order of the scenarios."""
    samples = samples_by_key(records)
    described = {one["name"]: one for one in records.header["scenarios"]}
    bars: list[Bar] = []
    for scenario in summary["scenarios"]:
        name, own = scenario["name"], scenario["policies"].get(OWN_POLICY)
        if own is None:
            continue
        if name in _PROMISES:
            bars.extend(_promised(name, own, _PROMISES[name]))
        if described[name]["overload"] is not None:
            bars.extend(_overload(name, own, samples, records.memory))
        if described[name]["kills"]:
            bars.extend(_kill(described[name], own, samples, records))
    return tuple(bars)


def memory_growth(memory: tuple[Memory, ...], scenario: str, policy: str) -> float | None:
    """Resident memory in the last quarter of the phases over that in their second quarter."""
    growths = []
    for number in sorted({one.round for one in memory}):
        rss_bytes = [
            one.rss_bytes
            for one in memory
            if (one.scenario, one.policy, one.round) == (scenario, policy, number)
        ]
        quarter = len(rss_bytes) // 4
        if quarter:
            second = np.median(rss_bytes[quarter : 2 * quarter])
            growths.append(float(np.median(rss_bytes[-quarter:]) / max(second, 1.0)))
    return max(growths, default=None)


def late_after_kills(alone: Sample, mixed: Sample) -> int:
    """Requests that took longer than 1.5 times the p99 alone."""
    alone_s = alone.latencies_s()
    if not alone_s:
        return 0
    limit_s = _LATE_FACTOR * float(np.quantile(np.concatenate(alone_s), 0.99))
    return sum(
        one.outcome is Outcome.OK and one.latency_s > limit_s
        for each in mixed.rounds
        for one in each.due
    )


def _critical(policy: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, task in policy["tasks"].items():
        if task["criticality"] == Criticality.CRITICAL:
            yield name, task


def _promised(scenario: str, own: Mapping[str, Any], promise: _Promise) -> Iterator[Bar]:
    for name, task in _critical(own):
        for figure in ("slowdown_p50", "slowdown_p99"):
            limit = getattr(promise, figure)
            if limit is not None:
                yield Bar(scenario, f"{name} {figure}", _value(task[figure]), limit, True)
    if promise.best_effort_ratio is not None:
        value = _value(own["best_effort_ratio"])
        yield Bar(scenario, "best_effort_ratio", value, promise.best_effort_ratio, False)


def _overload(
    scenario: str,
    own: Mapping[str, Any],
    samples: Mapping[Key, Sample],
    memory: tuple[Memory, ...],
) -> Iterator[Bar]:
    for name, task in _critical(own):
        alone = samples.get((scenario, ALONE, name))
        before = alone.attainment if alone is not None else None
        if before is not None:
            limit = before - _ATTAINMENT_SLACK
            yield Bar(scenario, f"{name} attainment", task["attainment"], limit, False)
    growth = memory_growth(memory, scenario, OWN_POLICY)
    yield Bar(scenario, "memory growth", growth, _GROWTH_MAX, True)
    unanswered = sum(samples[scenario, OWN_POLICY, task].unanswered for task in own["tasks"])
    yield Bar(scenario, "requests without an answer", unanswered, 0, True)


def _kill(
    described: Mapping[str, Any],
    own: Mapping[str, Any],
    samples: Mapping[Key, Sample],
    records: Records,
) -> Iterator[Bar]:
    scenario = described["name"]
    for name, task in _critical(own):
        alone = samples.get((scenario, ALONE, name))
        yield Bar(scenario, f"{name} lost", task["dropped"], 0, True)
        late = (
            None if alone is None else late_after_kills(alone, samples[scenario, OWN_POLICY, name])
        )
        yield Bar(scenario, f"{name} later than 1.5 x p99 alone", late, 0, True)
    killed = [one for one in records.kills if (one.scenario, one.policy) == (scenario, OWN_POLICY)]
    yield Bar(scenario, "kills", len(killed), described["kills"], False)
    back = sum(one.back_s is not None for one in killed)
    yield Bar(scenario, "lanes that came back", back, len(killed), False)


def _value(interval: Mapping[str, float] | None) -> float | None:
    return None if interval is None else interval["value"]
