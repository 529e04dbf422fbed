"""Records of an elastic suite go in; its `summary.json` comes out: that of `mixed`, and more.

Beside what `summary.py` says, each policy has

    total_throughput_ratio   sum of all tasks' inferences per second over the same sum under
                             `sequential` in the same run, with its 95 % interval
    pause_p99_s              from the flag until the device was free of best-effort work

each scenario has

    tile_p99_s   the time of one tile alone of the best-effort model whose tiles take longest
    advantage    of the own policy over Miriam's, with 95 % intervals, larger is better: Miriam's
                 critical slowdown (p99, the worst task's) over ours, our total throughput over
                 Miriam's

and the document says which component ran, what was done to the rates, and what was skipped.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cotenant.bench.bars import OWN_POLICY
from cotenant.bench.figures import samples_by_key
from cotenant.bench.records import Records
from cotenant.bench.spread import Measured
from cotenant.bench.statistics import Interval
from cotenant.bench.suites import REFERENCE
from cotenant.bench.summary import summarise
from cotenant.core.task import Criticality

BESIDE = "miriam"
"""The policy that the own one is compared with."""


def summarise_suite(records: Records) -> dict[str, Any]:
    """The document of `summary.json`."""
    summary = summarise(records)
    samples = samples_by_key(records)
    described = {one["name"]: one for one in records.header["scenarios"]}
    for scenario in summary["scenarios"]:
        name = scenario["name"]
        scenario["rate_scale"] = described[name]["rate_scale"]
        scenario["tile_p99_s"] = described[name].get("tile_p99_s")
        measured = Measured(name, samples, records.header["seed"])
        tasks = {task["name"]: task["criticality"] for task in described[name]["tasks"]}
        for policy, figures in scenario["policies"].items():
            ratio = _total_ratio(measured, tasks, policy, REFERENCE)
            figures["total_throughput_ratio"] = None if ratio is None else ratio._asdict()
            figures["pause_p99_s"] = _pause_p99_s(records, name, policy)
        scenario["advantage"] = _advantage(measured, tasks)
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


def _total_ratio(
    measured: Measured, tasks: Mapping[str, str], policy: str, other: str
) -> Interval | None:
    # A policy beside itself is one, exactly: both sums are drawn with the same numbers.
    ours, theirs = (measured.total_rps(one, tasks) for one in (policy, other))
    return None if ours is None or theirs is None else ours.over(theirs)


def _advantage(measured: Measured, tasks: Mapping[str, str]) -> dict[str, Any] | None:
    critical = [name for name, kind in tasks.items() if kind == Criticality.CRITICAL]
    ours, theirs = (
        measured.worst_slowdown(policy, critical, 0.99) for policy in (OWN_POLICY, BESIDE)
    )
    latency = None if ours is None or theirs is None else theirs.over(ours)
    throughput = _total_ratio(measured, tasks, OWN_POLICY, BESIDE)
    if latency is None or throughput is None:
        return None
    return {"over": BESIDE, "latency": latency._asdict(), "throughput": throughput._asdict()}


def _pause_p99_s(records: Records, scenario: str, policy: str) -> float | None:
    pauses_s = [
        one.pause_s for one in records.pauses if (one.scenario, one.policy) == (scenario, policy)
    ]
    return float(np.quantile(pauses_s, 0.99)) if pauses_s else None
