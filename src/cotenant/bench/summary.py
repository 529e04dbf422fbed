"""Records go in, the figures of `summary.json` come out: nothing else is read or remembered.

Slowdown is a quantile of a task's latency in the mix over the same quantile alone.

The best-effort ratio compares what best-effort tasks got with what was there to get:

    sum over best-effort tasks of (throughput in the mix / throughput alone)
    ------------------------------------------------------------------------
              1 - sum over critical tasks of (rate x mean service time)

A task alone has the whole machine, so the fractions of several tasks add up to the part
of the machine that all of them had together. The service time is the one that the server's
statistics state for the critical task alone; where it states none, the client's own mean
latency stands in, which makes the denominator smaller by rate x overhead.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cotenant.bench.figures import Key, Sample, samples_by_key
from cotenant.bench.records import ALONE, Records
from cotenant.bench.statistics import (
    RESAMPLES,
    Interval,
    percentile_interval,
    quantile_ratio,
    resampled_means,
)
from cotenant.core.task import Criticality


def summarise(records: Records) -> dict[str, Any]:
    """The document of `summary.json`."""
    samples = samples_by_key(records)
    header = records.header
    scenarios = [
        {
            "name": scenario["name"],
            "policies": {
                policy: _policy(scenario, policy, samples, header["seed"])
                for policy in policies_of(records, scenario["name"])
            },
        }
        for scenario in header["scenarios"]
    ]
    return {
        "suite": header["suite"],
        "machine": header["machine"],
        "versions": header["versions"],
        "seed": header["seed"],
        "rounds": len({phase.round for phase in records.phases}),
        "scenarios": [one for one in scenarios if one["policies"]],
    }


def policies_of(records: Records, scenario: str) -> tuple[str, ...]:
    """The policies that were measured, in the order in which they were asked for."""
    asked = next(one for one in records.header["scenarios"] if one["name"] == scenario)["policies"]
    seen = {phase.policy for phase in records.phases if phase.scenario == scenario}
    return tuple(policy for policy in asked if policy in seen)


def critical_utilization(
    scenario: Mapping[str, Any], samples: Mapping[Key, Sample]
) -> float | None:
    """Fraction of time that critical tasks occupy the machine while alone."""
    total = 0.0
    for task in scenario["tasks"]:
        if task["criticality"] != Criticality.CRITICAL:
            continue
        alone = samples.get((scenario["name"], ALONE, task["name"]))
        if alone is None or not alone.window_s or alone.service_s is None:
            return None
        total += alone.due / alone.window_s * alone.service_s
    return total


def _policy(
    scenario: Mapping[str, Any], policy: str, samples: Mapping[Key, Sample], seed: int
) -> dict[str, Any]:
    name = scenario["name"]
    return {
        "tasks": {
            task["name"]: _task(
                task,
                samples[name, policy, task["name"]],
                samples.get((name, ALONE, task["name"])),
                _rng(seed, name, policy, task["name"]),
            )
            for task in scenario["tasks"]
        },
        "best_effort_ratio": _plain(
            _best_effort_ratio(scenario, policy, samples, _rng(seed, name, policy))
        ),
    }


def _task(
    task: Mapping[str, Any], mixed: Sample, alone: Sample | None, rng: np.random.Generator
) -> dict[str, Any]:
    latencies_s = mixed.latencies_s()
    pooled_s = np.concatenate(latencies_s) if latencies_s else None
    alone_s = alone.latencies_s() if alone is not None else []

    def quantile_s(quantile: float) -> float | None:
        return None if pooled_s is None else float(np.quantile(pooled_s, quantile))

    def slowdown(quantile: float) -> dict[str, float] | None:
        if not latencies_s or not alone_s:
            return None
        return _plain(quantile_ratio(latencies_s, alone_s, quantile, rng))

    return {
        "criticality": task["criticality"],
        "p50_s": quantile_s(0.50),
        "p95_s": quantile_s(0.95),
        "p99_s": quantile_s(0.99),
        "slowdown_p50": slowdown(0.50),
        "slowdown_p99": slowdown(0.99),
        "throughput_rps": mixed.throughput_rps,
        "goodput_rps": mixed.goodput_rps,
        "attainment": mixed.attainment,
        "dropped": mixed.dropped,
    }


def _best_effort_ratio(
    scenario: Mapping[str, Any],
    policy: str,
    samples: Mapping[Key, Sample],
    rng: np.random.Generator,
) -> Interval | None:
    utilization = critical_utilization(scenario, samples)
    if utilization is None or utilization >= 1.0:
        return None
    names: Sequence[str] = [
        task["name"] for task in scenario["tasks"] if task["criticality"] == Criticality.BEST_EFFORT
    ]
    value, spread = 0.0, np.zeros(RESAMPLES)
    for name in names:
        mixed = samples[scenario["name"], policy, name]
        alone = samples.get((scenario["name"], ALONE, name))
        if alone is None or alone.throughput_rps == 0.0:
            return None
        value += mixed.throughput_rps / alone.throughput_rps
        above = resampled_means(mixed.sliced_rates_rps(), rng, RESAMPLES)
        below = resampled_means(alone.sliced_rates_rps(), rng, RESAMPLES)
        spread += above / np.maximum(below, 1e-12)
    if not names:
        return None
    left = 1.0 - utilization
    return percentile_interval(value / left, spread / left)


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval._asdict()


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])
