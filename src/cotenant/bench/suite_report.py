"""`records.jsonl` of an elastic suite goes in; summary, report and two pictures come out.

As with every suite, nothing else is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from cotenant.bench.bars import Bar
from cotenant.bench.disturbed import MUCH, disturbed_rounds, without
from cotenant.bench.figures import samples_by_key
from cotenant.bench.frontier import draw_frontier
from cotenant.bench.picture import draw
from cotenant.bench.rates import UTILIZATION
from cotenant.bench.records import Records, read_records
from cotenant.bench.report import (
    PICTURE,
    RECORDS,
    REPORT,
    SUMMARY,
    bars_table,
    conditions,
    interval_words,
    method,
    scenario_section,
)
from cotenant.bench.suite_bars import judge_suite
from cotenant.bench.suite_summary import summarise_suite, worst_slowdown
from cotenant.bench.suites import REFERENCE, SUITES
from cotenant.core.units import format_duration

FRONTIER = "frontier.png"


def write_suite_report(folder: Path) -> tuple[Bar, ...]:
    """Make every file of a report from the records in `folder`; returns the bars."""
    everything = read_records(folder / RECORDS)
    left_out = disturbed_rounds(everything)
    records = without(everything, left_out)
    summary = summarise_suite(records, left_out)
    bars = judge_suite(records.header, summary)
    document = orjson.dumps(summary, option=orjson.OPT_INDENT_2)
    (folder / SUMMARY).write_bytes(document + b"\n")
    if summary["scenarios"]:
        draw(records, summary, folder / PICTURE)
        draw_frontier(summary, folder / FRONTIER)
    (folder / REPORT).write_text(suite_markdown(records, summary, bars), encoding="utf-8")
    return bars


def suite_markdown(records: Records, summary: Mapping[str, Any], bars: Sequence[Bar]) -> str:
    """The text of `report.md`."""
    suite, header = SUITES[summary["suite"]], records.header
    component = summary["component"]
    lines = [
        f"# {suite.title}",
        "",
        *conditions(records, summary),
        f"Component: {component['kind']}, {component['device']}.",
        "",
        *(f"- {note}" for note in suite.notes),
        *(f"- **skipped {one['name']}**: {one['reason']}" for one in summary["skipped"]),
        *map(_left_out, summary["left_out"]),
        "",
    ]
    if bars:
        lines += ["## Bars", "", *bars_table(bars), ""]
    samples = samples_by_key(records)
    described = {one["name"]: one for one in header["scenarios"]}
    for scenario in summary["scenarios"]:
        lines += scenario_section(described[scenario["name"]], scenario, samples, records)
        lines += [*_rates(scenario["rate_scale"]), *_tile(scenario), "", *_shares(scenario), ""]
    if summary["scenarios"]:
        lines += [
            f"![Critical slowdown and total throughput by policy]({FRONTIER})",
            f"![Latency and best-effort throughput by policy]({PICTURE})",
            "",
        ]
    return "\n".join([*lines, *method(), "", *_more_method()]) + "\n"


def _left_out(disturbed: Mapping[str, Any]) -> str:
    return (
        f"- **round {disturbed['round'] + 1} of {disturbed['scenario']} left out**: "
        f"`{disturbed['task']}` alone took {disturbed['slower']:.1f} times what it took in the "
        "middle round, so something else held the machine"
    )


def _rates(scale: Mapping[str, Any]) -> Iterator[str]:
    if scale["factor"] == 1.0:
        yield "Rates: as published."
    else:
        yield f"Rates: the published ones times {scale['factor']:.3g}."
    if scale["alone_s"]:
        yield "Measured alone first: " + ", ".join(
            f"`{task}` {format_duration(alone_s)}" for task, alone_s in scale["alone_s"].items()
        )


def _tile(scenario: Mapping[str, Any]) -> Iterator[str]:
    if scenario["tile_p99_s"] is not None:
        yield f"One tile of a best-effort kernel, p99: {format_duration(scenario['tile_p99_s'])}."


def _shares(scenario: Mapping[str, Any]) -> Iterator[str]:
    yield (f"| policy | critical slowdown p50 | p99 | total throughput / {REFERENCE} | pause p99 |")
    yield "| --- | ---: | ---: | ---: | ---: |"
    for policy, figures in scenario["policies"].items():
        slowdowns = (worst_slowdown(figures, quantile) for quantile in ("p50", "p99"))
        p50, p99 = ("-" if one is None else f"{one:.3f}" for one in slowdowns)
        pause_s = figures["pause_p99_s"]
        pause = "-" if pause_s is None else format_duration(pause_s)
        ratio = interval_words(figures["total_throughput_ratio"])
        yield f"| {policy} | {p50} | {p99} | {ratio} | {pause} |"
    advantage = scenario["advantage"]
    if advantage is not None:
        latency, throughput = (
            interval_words(advantage[figure]) for figure in ("latency", "throughput")
        )
        yield ""
        yield (
            f"Advantage over `{advantage['over']}`, larger is better: critical p99 {latency}, "
            f"total throughput {throughput}."
        )


def _more_method() -> Iterator[str]:
    yield (
        "Critical slowdown in the last table of a workload is that of the critical task that "
        "fares worst. Total throughput is the sum of all tasks' inferences per second. A pause is "
        "the time from the flag until the device is free of best-effort work. Policies are "
        "compared within rounds: over them stands the Hodges-Lehmann estimate of the ratios, with "
        "the interval of Wilcoxon's signed-rank test. A round in which a task alone took more than "
        f"{MUCH:g} times what it took in the middle round does not count. Where rates were "
        "scaled, all open-loop rates of critical tasks were multiplied by one factor, so that "
        f"critical work alone takes at most {UTILIZATION:g} of the device."
    )
