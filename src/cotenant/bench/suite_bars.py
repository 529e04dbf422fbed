"""The summary of an elastic suite goes in, one row per promised figure comes out.

On MDTB the own policy stands beside Miriam's. Two advantages are looked at, both better when
larger: of latency, Miriam's critical slowdown (p99) over ours; of throughput, our total over
Miriam's. On every workload one of them is at least 1 and the other is not under it; over all
workloads, as geometric means, both are at least 1. An advantage that cannot be told from 1 is not
under it: the upper end of its 95 % interval counts.

A pause lasts as long as one tile, both at p99, and 1 ms at most.

On a CUDA device critical slowdown and total throughput have bars of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cotenant.bench.bars import OWN_POLICY, Bar
from cotenant.bench.suite_summary import BESIDE, worst_slowdown
from cotenant.bench.suites import SUITES

_PAUSE_S = 0.001
_CUDA_SLOWDOWN_MAX = 1.05
_CUDA_THROUGHPUT_MIN = 1.92


class Advantage(NamedTuple):
    """The own policy over Miriam's; larger is better."""

    latency: float
    throughput: float


def judge_suite(header: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Every bar that applies to what was run."""
    bars: list[Bar] = []
    if summary["suite"] == "mdtb":
        bars.extend(_beside_miriam(summary["scenarios"]))
    for scenario in summary["scenarios"]:
        bars.extend(_pause(scenario))
    if summary["component"]["kind"] == "cuda":
        described = {one["name"]: one for one in header["scenarios"]}
        for scenario in summary["scenarios"]:
            bars.extend(_on_cuda(described[scenario["name"]], scenario))
    return tuple(bars)


def _pause(scenario: Mapping[str, Any]) -> Iterator[Bar]:
    """Who pauses waits for the tiles that were claimed; 1 ms is for the word to be seen."""
    tile_s, own = scenario["tile_p99_s"], scenario["policies"].get(OWN_POLICY)
    if tile_s is not None and own is not None:
        limit_s = tile_s + _PAUSE_S
        yield Bar(scenario["name"], "pause p99 in s", own["pause_p99_s"], limit_s, at_most=True)


def advantage(scenario: Mapping[str, Any]) -> Advantage | None:
    """Of one workload; `None` where one of the two was not measured whole."""
    found = scenario["advantage"]
    return found and Advantage(*(found[figure]["value"] for figure in Advantage._fields))


def _beside_miriam(scenarios: Sequence[Mapping[str, Any]]) -> Iterator[Bar]:
    for scenario in scenarios:
        if scenario["advantage"] is not None:
            intervals = (scenario["advantage"][figure] for figure in Advantage._fields)
            less, more = sorted(intervals, key=lambda one: float(one["value"]))
            name = scenario["name"]
            yield Bar(name, f"better advantage over {BESIDE}", more["value"], 1.0, at_most=False)
            yield Bar(
                name, f"worse advantage over {BESIDE}, upper end", less["high"], 1.0, at_most=False
            )
    found = {one["name"]: advantage(one) for one in scenarios}
    measured = [found.get(scenario.name) for scenario in SUITES["mdtb"].scenarios]
    if not any(measured):
        return
    # A mean over the workloads that happened to run would not be the promised figure.
    whole = [one for one in measured if one is not None]
    complete = len(whole) == len(measured)
    for figure in Advantage._fields:
        values = [getattr(one, figure) for one in whole]
        mean = float(np.exp(np.mean(np.log(values)))) if complete else None
        yield Bar("all", f"{figure} advantage over {BESIDE}", mean, 1.0, at_most=False)


def _on_cuda(described: Mapping[str, Any], scenario: Mapping[str, Any]) -> Iterator[Bar]:
    own = scenario["policies"].get(OWN_POLICY)
    closed = any(
        task["criticality"] == "critical" and task["arrivals"]["kind"] == "closed-loop"
        for task in described["tasks"]
    )
    if own is None or closed:
        return
    name, ratio = scenario["name"], own["total_throughput_ratio"]
    yield Bar(name, "critical slowdown p99", worst_slowdown(own, "p99"), _CUDA_SLOWDOWN_MAX, True)
    value = None if ratio is None else ratio["value"]
    yield Bar(name, "total throughput / sequential", value, _CUDA_THROUGHPUT_MIN, False)
