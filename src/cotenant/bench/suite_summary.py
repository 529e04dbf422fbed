"""Records of an elastic suite go in; its `summary.json` comes out: that of `mixed`, and more.

Beside what `summary.py` says, each policy has

    total_throughput_ratio   sum of all tasks' inferences per second over the same sum under
                             `sequential` in the same rounds, with its 95 % interval
    pause_p99_s              from the flag until the device was free of best-effort work

each scenario has

    tile_p99_s   the time of one tile alone of the best-effort model whose tiles take longest
    advantage    of the own policy over Miriam's in the same rounds, with 95 % intervals, larger
                 is better: Miriam's critical slowdown (p99, the worst task's) over ours, our
                 total throughput over Miriam's

and the document says which component ran, what was done to the rates, what was skipped, and
which rounds were left out.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cotenant.bench import paired
from cotenant.bench.bars import OWN_POLICY
from cotenant.bench.disturbed import Disturbed
from cotenant.bench.figures import Key, Sample, samples_by_key
from cotenant.bench.records import Records
from cotenant.bench.statistics import Interval
from cotenant.bench.suites import REFERENCE
from cotenant.bench.summary import summarise
from cotenant.core.task import Criticality

BESIDE = "miriam"
"""The policy that the own one is compared with."""


def summarise_suite(records: Records, left_out: Iterable[Disturbed] = ()) -> dict[str, Any]:
    """The document of `summary.json`.

    Args:
        left_out: rounds that the records no longer hold.
    """
    summary = summarise(records)
    samples = samples_by_key(records)
    described = {one["name"]: one for one in records.header["scenarios"]}
    for scenario in summary["scenarios"]:
        name = scenario["name"]
        scenario["rate_scale"] = described[name]["rate_scale"]
        scenario["tile_p99_s"] = described[name].get("tile_p99_s")
        tasks = {task["name"]: task["criticality"] for task in described[name]["tasks"]}
        for policy, figures in scenario["policies"].items():
            ratio = _total_ratio(samples, name, tasks, policy, REFERENCE)
            figures["total_throughput_ratio"] = None if ratio is None else ratio._asdict()
            figures["pause_p99_s"] = _pause_p99_s(records, name, policy)
        scenario["advantage"] = _advantage(samples, name, tasks)
    return summary | {
        "component": records.header["component"],
        "skipped": records.header["skipped"],
        "left_out": [one._asdict() for one in left_out],
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


def _total_ratio(
    samples: Mapping[Key, Sample], scenario: str, tasks: Iterable[str], policy: str, other: str
) -> Interval | None:
    ours, theirs = (paired.total_rps(samples, scenario, one, tasks) for one in (policy, other))
    return paired.ratio(ours, theirs)


def _advantage(
    samples: Mapping[Key, Sample], scenario: str, tasks: Mapping[str, str]
) -> dict[str, Any] | None:
    critical = [name for name, kind in tasks.items() if kind == Criticality.CRITICAL]
    ours, theirs = (
        paired.worst_slowdown(samples, scenario, policy, critical, 0.99)
        for policy in (OWN_POLICY, BESIDE)
    )
    latency = paired.ratio(theirs, ours)
    throughput = _total_ratio(samples, scenario, tasks, OWN_POLICY, BESIDE)
    if latency is None or throughput is None:
        return None
    return {"over": BESIDE, "latency": latency._asdict(), "throughput": throughput._asdict()}


def _pause_p99_s(records: Records, scenario: str, policy: str) -> float | None:
    pauses_s = [
        one.pause_s for one in records.pauses if (one.scenario, one.policy) == (scenario, policy)
    ]
    return float(np.quantile(pauses_s, 0.99)) if pauses_s else None
