"""Records of an elastic suite go in; its `summary.json` comes out: that of `mixed`, and more.

Beside what `summary.py` says, each policy has

    total_throughput_ratio   sum of all tasks' inferences per second over the same sum under
                             `sequential` in the same run, with its 95 % interval
    pause_p99_s              from the flag until the device was free of best-effort work

each scenario has `tile_p99_s`, the time of one tile alone of the best-effort model whose tiles
take longest, and the document says which component ran, what was done to the rates, and what was
skipped.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cotenant.bench.figures import Key, Sample, Samples, samples_by_key
from cotenant.bench.records import Records
from cotenant.bench.statistics import RESAMPLES, percentile_interval, resampled_means
from cotenant.bench.suites import REFERENCE
from cotenant.bench.summary import summarise
from cotenant.core.task import Criticality


def summarise_suite(records: Records) -> dict[str, Any]:
    """The document of `summary.json`."""
    summary = summarise(records)
    samples = samples_by_key(records)
    described = {one["name"]: one for one in records.header["scenarios"]}
    for scenario in summary["scenarios"]:
        name = scenario["name"]
        scenario["rate_scale"] = described[name]["rate_scale"]
        scenario["tile_p99_s"] = described[name].get("tile_p99_s")
        tasks = [task["name"] for task in described[name]["tasks"]]
        for policy, figures in scenario["policies"].items():
            figures["total_throughput_ratio"] = _total_ratio(
                name, policy, tasks, samples, records.header["seed"]
            )
            figures["pause_p99_s"] = _pause_p99_s(records, name, policy)
    return summary | {
        "component": records.header["component"],
        "skipped": records.header["skipped"],
    }


def worst_slowdown(figures: Mapping[str, Any], quantile: str) -> float | None:
    """Slowdown of the critical task that fares worst; `None` where one was not measured.

    Args:
        quantile: 'p50' or 'p99'.
    """
    slowdowns = [
        task[f"slowdown_{quantile}"]
        for task in figures["tasks"].values()
        if task["criticality"] == Criticality.CRITICAL
    ]
    if not slowdowns or None in slowdowns:
        return None
    return max(float(one["value"]) for one in slowdowns)


class _Total(NamedTuple):
    value_rps: float
    spread_rps: Samples
    """Resampled; shape [resamples]."""


def _total_ratio(
    scenario: str, policy: str, tasks: Iterable[str], samples: Mapping[Key, Sample], seed: int
) -> dict[str, float] | None:
    totals = []
    for one in (policy, REFERENCE):
        found = [samples.get((scenario, one, task)) for task in tasks]
        measured = [sample for sample in found if sample is not None]
        if len(measured) < len(found):
            return None
        place = [zlib.crc32(name.encode()) for name in (scenario, one, "total")]
        totals.append(_total(measured, np.random.default_rng([seed, *place])))
    ours, reference = totals
    if reference.value_rps == 0.0:
        return None
    # A policy beside itself is one, exactly: both sums are drawn with the same numbers.
    spread = ours.spread_rps / np.maximum(reference.spread_rps, 1e-12)
    return percentile_interval(ours.value_rps / reference.value_rps, spread)._asdict()


def _total(samples: Iterable[Sample], rng: np.random.Generator) -> _Total:
    value_rps, spread_rps = 0.0, np.zeros(RESAMPLES)
    for sample in samples:
        value_rps += sample.throughput_rps
        spread_rps += resampled_means(sample.sliced_rates_rps(), rng, RESAMPLES)
    return _Total(value_rps, spread_rps)


def _pause_p99_s(records: Records, scenario: str, policy: str) -> float | None:
    pauses_s = [
        one.pause_s for one in records.pauses if (one.scenario, one.policy) == (scenario, policy)
    ]
    return float(np.quantile(pauses_s, 0.99)) if pauses_s else None
