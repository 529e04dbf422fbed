"""`records.jsonl` of the suite `prediction` goes in; summary, report and picture come out."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from cotenant.bench.accuracy import FIGURES, summarise
from cotenant.bench.bars import Bar
from cotenant.bench.cores import core_count, who_runs_where
from cotenant.bench.predictors import OWN, PLAIN
from cotenant.bench.records import Records, read_records
from cotenant.bench.report import RECORDS, REPORT, SUMMARY
from cotenant.bench.scatter import draw_scatter
from cotenant.bench.steady import LIMIT, WINDOWS
from cotenant.core.units import format_bytes, format_duration

SCATTER = "scatter.png"
_LIMITS = {"mean": 0.08, "p95": 0.15, "p99": 0.20}
_HALF = 0.5
_RIGHT = 0.95


def write_prediction_report(folder: Path) -> tuple[Bar, ...]:
    """Make every file of a report from the records in `folder`; returns the bars."""
    records = read_records(folder / RECORDS)
    summary = summarise(records)
    bars = judge(summary)
    document = orjson.dumps(summary, option=orjson.OPT_INDENT_2)
    (folder / SUMMARY).write_bytes(document + b"\n")
    if summary["rows"]:
        draw_scatter(summary, folder / SCATTER)
    (folder / REPORT).write_text(markdown(records, summary, bars), encoding="utf-8")
    return bars


def judge(summary: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Every promised figure; one that could not be measured is missed."""
    mixes = f"{summary['mixes']} mixes"
    bars = [
        Bar(mixes, f"error of {name}", summary["mape"][name], limit, at_most=True)
        for name, limit in _LIMITS.items()
    ]
    for plain in PLAIN:
        theirs = summary["mape_of"].get(plain, {})
        bars += [
            Bar(mixes, f"error of {name} over {plain}'s", _over(summary, theirs, name), _HALF, True)
            for name in FIGURES
        ]
    accuracy = summary["verdict_accuracy"]
    false_fits = None if accuracy is None else float(summary["false_fits"])
    return (
        *bars,
        Bar(mixes, "verdicts that were right", accuracy, _RIGHT, at_most=False),
        Bar(mixes, "false fits", false_fits, 0.0, at_most=True),
    )


def _over(summary: Mapping[str, Any], theirs: Mapping[str, Any], name: str) -> float | None:
    own, other = summary["mape"][name], theirs.get(name)
    return None if own is None or not other else own / other


def markdown(records: Records, summary: Mapping[str, Any], bars: Sequence[Bar]) -> str:
    """The text of `report.md`."""
    lines = [
        "# Predicted against measured",
        "",
        *_conditions(records, summary),
        "",
        "## Bars",
        "",
        "| figure | value | bar | |",
        "| --- | ---: | ---: | --- |",
        *(_bar(bar) for bar in bars),
        "",
        "## Errors",
        "",
        *_errors("all policies", summary),
    ]
    if len(summary["policies"]) > 1:
        for policy, errors in summary["policies"].items():
            lines += _errors(f"policy {policy}", errors)
    lines += _parts(summary["parts"])
    if summary["rows"]:
        lines += [f"![Predicted against measured latency]({SCATTER})", "", *_mixes(summary)]
    if summary["failures"]:
        lines += ["## What failed", ""]
        lines += [
            f"- {one['scenario']}, {one['policy']}: {one['reason']}" for one in summary["failures"]
        ]
        lines += [""]
    return "\n".join([*lines, *_method()]) + "\n"


def _conditions(records: Records, summary: Mapping[str, Any]) -> Iterator[str]:
    header = records.header
    machine = header["machine"]
    yield (
        f"{machine['processor']}, {core_count(machine)}, "
        f"{format_bytes(machine['memory_bytes'])}, {machine['system']}."
    )
    yield from who_runs_where(header)
    yield "Versions: " + ", ".join(f"{name} {one}" for name, one in header["versions"].items())
    yield _steadiness(summary["steadiness"])
    if header.get("forecast_again"):
        yield "Forecasts are those of a later version, made again from what was known then."
    yield (
        f"Seed {header['seed']}; {summary['mixes']} of {summary['asked']} mixes, "
        f"{len(summary['rows'])} tasks; {WINDOWS} windows of {header['seconds_s']:g} s each, after "
        f"{header['warm_up_s']:g} s of warm-up; {len(records.observations)} requests."
    )


def _steadiness(found: Mapping[str, Any]) -> str:
    slower = found["slower_than_profiled"]
    text = "How fast the machine was before the forecasts is not known."
    if slower["median"] is not None:
        text = (
            f"Before the forecasts the machine took {slower['median']:.2f} times as long as when "
            f"it was profiled (least {slower['least']:.2f}, most {slower['most']:.2f})."
        )
    if found["left_out"]:
        text += (
            f" Of {found['windows']} windows {found['left_out']} do not count, because services "
            f"of critical tasks were {LIMIT:.0%} off those of the mix's median window."
        )
    return text


def _bar(bar: Bar) -> str:
    value = "not measured" if bar.value is None else f"{bar.value:.4g}"
    sign = "<=" if bar.at_most else ">="
    return f"| {bar.figure} | {value} | {sign} {bar.limit:g} | {'pass' if bar.met else 'MISS'} |"


def _errors(title: str, errors: Mapping[str, Any]) -> Iterator[str]:
    yield f"| {title} | mean | p95 | p99 | verdicts right | false fits |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, figures in errors["mape_of"].items():
        cells = " | ".join(_share(figures[figure]) for figure in FIGURES)
        right = _share(errors["verdict_accuracy_of"][name])
        strong = "**" if name == OWN else ""
        yield (f"| {strong}{name}{strong} | {cells} | {right} | {errors['false_fits_of'][name]} |")
    if interval := errors.get("mape_interval"):
        cells = " | ".join(_range(interval[figure]) for figure in FIGURES)
        yield f"| *{OWN}, 95 % interval* | {cells} | | |"
    cells = " | ".join(_share(errors["repeatability_mape"][figure]) for figure in FIGURES)
    same = _share(errors["verdict_repeatability"])
    yield f"| *the same mix measured again* | {cells} | {same} | |"
    if first := errors.get("first_forecasts"):
        cells = " | ".join(_share(first[figure]) for figure in FIGURES)
        yield f"| *{OWN}, forecasts of the first round alone* | {cells} | | |"
    if every := errors.get("every_window"):
        for name, error in (
            (f"{OWN}, every window counted", "mape"),
            ("the same mix measured again, every window counted", "repeatability_mape"),
        ):
            cells = " | ".join(_share(every[error][figure]) for figure in FIGURES)
            yield f"| *{name}* | {cells} | | |"
    cells = " | ".join(_share(errors["luck_mape"][figure]) for figure in FIGURES)
    yield f"| *a forecast whose model is right, in windows as short as these* | {cells} | | |"
    yield ""
    yield f"Of the tasks that {OWN} said fit, {_share(errors['fits_kept'])} did."
    yield ""


def _parts(parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"| {OWN}, by part | tasks | mean | p95 | p99 | measured again: mean | p95 | p99 |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for part in parts:
        cells = [
            _share(part[error][figure])
            for error in ("mape", "repeatability_mape")
            for figure in FIGURES
        ]
        yield f"| {part['part']} | {part['tasks']} | {' | '.join(cells)} |"
    yield ""


def _mixes(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Every task"
    yield ""
    yield "Latencies in ms, predicted / measured."
    yield ""
    yield (
        "| mix | load | policy | task | arrivals | requests | mean | p95 | p99 | SLO | attainment "
        "| |"
    )
    yield "| --- | ---: | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    for row in summary["rows"]:
        yield _row(row)
    yield ""


def _row(row: Mapping[str, Any]) -> str:
    own = row["predicted"].get(OWN)
    kind = "critical" if row["criticality"] == "critical" else "best-effort"
    cells = " | ".join(
        f"{'-' if own is None else _ms(own[name])} / {_ms(row['measured'][name])}"
        for name in FIGURES
    )
    slo = row["slo"]
    promise = (
        "-" if slo is None else f"p{100 * slo['quantile']:g} {format_duration(slo['latency_s'])}"
    )
    told = "-" if own is None else _share(own["attainment"])
    verdict = ""
    if own is not None and slo is not None:
        right = own["fits"] == (row["attainment"] >= slo["quantile"])
        verdict = ("fits" if own["fits"] else "does not fit") + ("" if right else ", WRONG")
    arrivals = row["arrivals"]
    return (
        f"| {row['mix']} | {row['utilization']:.2f} | {row['policy']} | {kind} `{row['task']}` "
        f"| {arrivals['kind']} {arrivals['rate_rps']:.3g}/s | {row['requests']} | {cells} "
        f"| {promise} | {told} / {_share(row['attainment'])} | {verdict} |"
    )


def _method() -> Iterator[str]:
    yield "## How to read this"
    yield ""
    yield (
        f"Mixes were visited in {WINDOWS} rounds, in another order each time, so that the windows "
        "of a mix are far apart. On each visit every task of the mix was asked alone, then the "
        "window was predicted, then it was measured; all predictors start from the profile as the "
        "looks so far have corrected it, and none sees a latency of a mix. What is compared is the "
        "mean of the forecasts of the windows that count; *forecasts of the first round alone* "
        "were made before anything of their mix was measured. A window in which services of "
        f"critical tasks were {LIMIT:.0%} off those of the mix's median window does not count; the "
        "forecast has no say in it. Latency is what the client sees, from the time a request was "
        "due; quantiles are those of answered requests, pooled over all windows that count. The "
        "error of a figure is |predicted - measured| / measured, and the mean of that over all "
        "tasks stands in the table; its interval is that of mixes drawn again. Windows draw "
        "arrivals of their own; *measured again* takes one window as the prediction of the others "
        "together: it contains the luck of the arrivals and the drift of the machine, and has "
        "fewer requests than the measurement. A verdict is right "
        "if the task was said to fit and met its SLO at its quantile, or neither; a false fit "
        "attained less than 0.9 times its quantile."
    )


def _ms(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s * 1e3:.3g}"


def _range(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
