"""`records.jsonl` goes in; `summary.json`, `report.md` and a picture come out.

Nothing else is read, so a report can be made again, byte for byte, wherever the records are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from cotenant.bench.bars import Bar, judge, late_after_kills, memory_growth
from cotenant.bench.cores import core_count, who_runs_where
from cotenant.bench.figures import Key, Sample, samples_by_key
from cotenant.bench.picture import draw
from cotenant.bench.records import ALONE, Records, read_records
from cotenant.bench.summary import critical_utilization, summarise
from cotenant.core.units import format_bytes, format_duration

RECORDS = "records.jsonl"
SUMMARY = "summary.json"
REPORT = "report.md"
PICTURE = "picture.png"


def write_report(folder: Path) -> tuple[Bar, ...]:
    """Make every file of a report from the records in `folder`; returns the bars."""
    records = read_records(folder / RECORDS)
    summary = summarise(records)
    bars = judge(records, summary)
    document = orjson.dumps(summary, option=orjson.OPT_INDENT_2)
    (folder / SUMMARY).write_bytes(document + b"\n")
    if summary["scenarios"]:
        draw(records, summary, folder / PICTURE)
    (folder / REPORT).write_text(markdown(records, summary, bars), encoding="utf-8")
    return bars


def markdown(records: Records, summary: Mapping[str, Any], bars: Sequence[Bar]) -> str:
    """The text of `report.md`."""
    samples = samples_by_key(records)
    described = {one["name"]: one for one in records.header["scenarios"]}
    lines = ["# Mixed workloads on one machine", "", *conditions(records, summary), ""]
    if bars:
        lines += ["## Bars", "", *bars_table(bars), ""]
    for scenario in summary["scenarios"]:
        lines += scenario_section(described[scenario["name"]], scenario, samples, records)
    if summary["scenarios"]:
        lines += [f"![Latency and best-effort throughput by policy]({PICTURE})", ""]
    return "\n".join([*lines, *method()]) + "\n"


def conditions(records: Records, summary: Mapping[str, Any]) -> Iterator[str]:
    """Machine, versions and settings, a line for each."""
    header = records.header
    machine = header["machine"]
    late_s = [
        one.sent_s - one.scheduled_s for one in records.observations if one.sent_s is not None
    ]
    yield (
        f"{machine['processor']}, {core_count(machine)}, "
        f"{format_bytes(machine['memory_bytes'])}, {machine['system']}."
    )
    yield from who_runs_where(header)
    yield "Versions: " + ", ".join(f"{name} {one}" for name, one in header["versions"].items())
    yield (
        f"Seed {header['seed']}; {summary['rounds']} of {header['rounds']} rounds of "
        f"{header['seconds_s']:g} s a phase, after {header['warm_up_s']:g} s of warm-up; "
        f"{len(records.observations)} requests."
    )
    if late_s:
        yield (
            f"Load generator: {header['generator']}; it sent p99 "
            f"{format_duration(float(np.quantile(late_s, 0.99)))} after a request was due."
        )


def bars_table(bars: Iterable[Bar]) -> list[str]:
    """Each promised figure with its bar."""
    return [
        "| scenario | figure | value | bar | |",
        "| --- | --- | ---: | ---: | --- |",
        *(
            f"| {bar.scenario} | {bar.figure} | {_figure(bar.value)} | "
            f"{'<=' if bar.at_most else '>='} {_figure(bar.limit)} | "
            f"{'pass' if bar.met else 'MISS'} |"
            for bar in bars
        ),
    ]


def scenario_section(
    described: Mapping[str, Any],
    scenario: Mapping[str, Any],
    samples: Mapping[Key, Sample],
    records: Records,
) -> Iterator[str]:
    """One scenario: its tasks, and what each of them got under each policy."""
    name = scenario["name"]
    yield f"## {name}"
    yield ""
    yield "; ".join(_task_words(task) for task in described["tasks"]) + "."
    utilization = critical_utilization(described, samples)
    if utilization is not None:
        yield f"Critical utilization alone: {utilization:.3f}."
    yield ""
    yield (
        "| policy | task | p50 | p95 | p99 | slowdown p50 | slowdown p99 "
        "| throughput | goodput | attainment | dropped |"
    )
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for task in described["tasks"]:
        alone = samples.get((name, ALONE, task["name"]))
        if alone is not None and alone.latencies_s():
            yield _alone_row(task["name"], alone)
    for policy, figures in scenario["policies"].items():
        for task_name, task in figures["tasks"].items():
            yield _task_row(policy, task_name, task)
    yield ""
    for policy, figures in scenario["policies"].items():
        if figures["best_effort_ratio"] is not None:
            yield f"- {policy}: best-effort ratio {interval_words(figures['best_effort_ratio'])}"
    yield from _memory(name, scenario, records)
    yield from _kills(described, scenario, samples, records)
    yield ""


def _task_words(task: Mapping[str, Any]) -> str:
    slo = task["slo"]
    promise = f", SLO {format_duration(slo['latency_s'])}" if slo else ""
    return f"{task['criticality']} `{task['name']}` ({_arrival_words(task['arrivals'])}{promise})"


def _arrival_words(arrivals: Mapping[str, Any] | None) -> str:
    match arrivals:
        case {"kind": "closed-loop", "clients": clients}:
            return f"closed loop of {clients}"
        case {"kind": kind, "rate_rps": rate_rps}:
            return f"{kind} {rate_rps:g}/s"
        case {"kind": kind}:
            return str(kind)
        case _:
            return "closed loop of 1"


def _alone_row(task: str, alone: Sample) -> str:
    pooled_s = np.concatenate(alone.latencies_s())
    p50, p95, p99 = (_milliseconds(float(np.quantile(pooled_s, q))) for q in (0.5, 0.95, 0.99))
    return (
        f"| *alone* | {task} | {p50} | {p95} | {p99} | 1 | 1 | {alone.throughput_rps:.2f}/s "
        f"| {alone.goodput_rps:.2f}/s | {_share(alone.attainment)} | {alone.dropped} |"
    )


def _task_row(policy: str, name: str, task: Mapping[str, Any]) -> str:
    return (
        f"| {policy} | {name} | {_milliseconds(task['p50_s'])} | {_milliseconds(task['p95_s'])} "
        f"| {_milliseconds(task['p99_s'])} | {interval_words(task['slowdown_p50'])} "
        f"| {interval_words(task['slowdown_p99'])} | {task['throughput_rps']:.2f}/s "
        f"| {task['goodput_rps']:.2f}/s | {_share(task['attainment'])} | {task['dropped']} |"
    )


def _memory(name: str, scenario: Mapping[str, Any], records: Records) -> Iterator[str]:
    for policy in scenario["policies"]:
        rss_bytes = [
            one.rss_bytes for one in records.memory if (one.scenario, one.policy) == (name, policy)
        ]
        growth = memory_growth(records.memory, name, policy)
        if rss_bytes and growth is not None:
            yield (
                f"- {policy}: server memory at most {format_bytes(max(rss_bytes))}, "
                f"last quarter {growth:.3f} of the second"
            )


def _kills(
    described: Mapping[str, Any],
    scenario: Mapping[str, Any],
    samples: Mapping[Key, Sample],
    records: Records,
) -> Iterator[str]:
    name = scenario["name"]
    for policy in scenario["policies"]:
        killed = [one for one in records.kills if (one.scenario, one.policy) == (name, policy)]
        if not killed:
            continue
        back_s = [one.back_s - one.time_s for one in killed if one.back_s is not None]
        slowest = f", slowest after {format_duration(max(back_s))}" if back_s else ""
        yield f"- {policy}: {len(killed)} kills, {len(back_s)} times back{slowest}"
        for task in described["tasks"]:
            alone, mixed = (
                samples.get((name, ALONE, task["name"])),
                samples[name, policy, task["name"]],
            )
            if task["criticality"] == "critical" and alone is not None:
                yield (
                    f"- {policy}: of {mixed.due} requests of `{task['name']}` {mixed.dropped} "
                    f"lost, {late_after_kills(alone, mixed)} later than 1.5 x p99 alone "
                    f"(alone, {late_after_kills(alone, alone)} of {alone.due} are)"
                )


def method() -> Iterator[str]:
    """How the figures were made."""
    yield "## How to read this"
    yield ""
    yield (
        "Open-loop latency counts from the time a request was due, never from the time it was "
        "sent. Quantiles are those of answered requests; attainment and goodput count refused, "
        "failed and late ones against the task. Slowdown is a quantile in the mix over the same "
        "quantile alone, pooled over the rounds of this run. The best-effort ratio is the sum of "
        "throughput over throughput alone, divided by what critical tasks leave (1 - their rate x "
        "mean service time alone). Brackets are 95 % bootstrap intervals, resampled within rounds "
        "(requests for quantiles, one-second slices for throughput)."
    )


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"


def _milliseconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s * 1e3:.2f} ms"


def interval_words(interval: Mapping[str, float] | None) -> str:
    """A figure with its interval; '-' where there is none."""
    if interval is None:
        return "-"
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
