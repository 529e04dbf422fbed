"""Records of the suite `kernels` go in; `summary.json`, `report.md` and the bars come out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from cotenant.bench.bars import Bar
from cotenant.bench.cores import core_count
from cotenant.bench.kernels import RECORDS, SUITE

_ERROR_MAX = 1e-4
_COST_MAX = {"static": 1.05, "preemptive": 1.15}
_LENGTHS_S = (5e-5, 2e-4, 1e-3, 1e-2)
"""Where kernels are divided by the time of their plain form: what is dear for brief ones need not
be for those that take the time."""

Line = Mapping[str, Any]


def write_report(folder: Path) -> tuple[Bar, ...]:
    """Make `summary.json` and `report.md` from the records in `folder`; returns the bars."""
    header, *lines = map(orjson.loads, (folder / RECORDS).read_bytes().splitlines())
    by_model: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_model[line["model"]].append(line)
    models = {model: _figures(found) for model, found in by_model.items()}
    total = _figures(lines) | {"by_length": _by_length(lines)}
    bars = _bars(models, total)
    summary = {key: header[key] for key in ("suite", "machine", "versions", "seed")} | {
        "target": header["target"],
        "device": header["device"],
        "models": models,
        "total": total,
        "bars": [bar._asdict() | {"met": bar.met} for bar in bars],
    }
    document = orjson.dumps(summary, option=orjson.OPT_INDENT_2)
    (folder / "summary.json").write_bytes(document + b"\n")
    text = _markdown(header, models, total, lines, bars)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return bars


def _figures(lines: Sequence[Line]) -> dict[str, Any]:
    """Of one model, or of all."""
    kernels = [line for line in lines if line["kind"] == "kernel"]
    tried = [line for line in kernels if "bit_equal" in line]
    errors = [line["relative_error"] for line in lines if "relative_error" in line]
    used = [line["resources"] for line in kernels if "resources" in line]
    return {
        "kernels": len(kernels),
        "launches": sum(line["launches"] for line in kernels),
        "preemptive": sum(line["rung"] == "preemptive" for line in kernels),
        "failures": sum("failure" in line for line in lines),
        "tried": len(tried),
        "bit_equal": sum(line["bit_equal"] for line in tried),
        "relative_error": max(errors, default=None),
        "cost": {form: _cost(tried, form) for form in _COST_MAX} if tried else None,
        "ptx": len(used),
        "registers_max": {
            form: max(one[form]["registers"] for one in used if form in one)
            for form in sorted({form for one in used for form in one})
        },
        "shared_bytes_max": max(
            (form["shared_bytes"] for one in used for form in one.values()), default=None
        ),
    }


def _cost(tried: Sequence[Line], form: str) -> float | None:
    """Median over kernels of the median over rounds of (form / plain)."""
    ratios = [
        np.median([one[f"{form}_s"] / one["plain_s"] for one in line["rounds"]])
        for line in tried
        if line["rounds"]
    ]
    return float(np.median(ratios)) if ratios else None


def _by_length(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Costs of brief and of long kernels; `under_s` is `None` for the longest."""
    found: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        if line.get("rounds"):
            plain_s = np.median([one["plain_s"] for one in line["rounds"]])
            found[int(np.searchsorted(_LENGTHS_S, plain_s, side="right"))].append(line)
    return [
        {
            "under_s": _LENGTHS_S[place] if place < len(_LENGTHS_S) else None,
            "kernels": len(found[place]),
            "cost": {form: _cost(found[place], form) for form in _COST_MAX},
        }
        for place in sorted(found)
    ]


def _bars(models: Mapping[str, Any], total: Mapping[str, Any]) -> tuple[Bar, ...]:
    bars = [Bar(SUITE, "kernels that failed", total["failures"], 0, True)]
    if total["ptx"]:
        bars.append(Bar(SUITE, "kernels in PTX", total["ptx"], total["kernels"], False))
    if total["tried"]:
        bars += [
            Bar(SUITE, f"{model} relative error", about["relative_error"], _ERROR_MAX, True)
            for model, about in models.items()
        ]
        bars.append(Bar(SUITE, "kernels bit-equal", total["bit_equal"], total["tried"], False))
        bars += [
            Bar(SUITE, f"{form} / plain", total["cost"][form], limit, True)
            for form, limit in _COST_MAX.items()
        ]
    return tuple(bars)


def _markdown(
    header: Mapping[str, Any],
    models: Mapping[str, Any],
    total: Mapping[str, Any],
    lines: Sequence[Line],
    bars: Sequence[Bar],
) -> str:
    machine = header["machine"]
    rows = [_row(model, about) for model, about in (*models.items(), ("all", total))]
    failures = [
        f"- {line['model']} {line.get('kernel', '')}: {line['failure']}"
        for line in lines
        if "failure" in line
    ]
    kept = [
        f"- {line['model']} {line['kernel']} stays as it is: {line['reason']}"
        for line in lines
        if line.get("reason")
    ]
    return "\n".join(
        [
            f"# Kernels of the zoo for {header['target']}",
            "",
            f"{header['device'] or 'Without a GPU, by NVRTC'}; {machine['processor']}, "
            f"{core_count(machine)}, {machine['system']}.",
            f"Versions: {', '.join(f'{name} {one}' for name, one in header['versions'].items())}",
            f"Seed {header['seed']}; {header['rounds']} interleaved rounds.",
            "",
            "| model | kernels | launches | preemptive | bit-equal | error | static / plain "
            "| preemptive / plain | PTX | registers, most in a form | shared bytes, most |",
            "| --- " + "| ---: " * 10 + "|",
            *rows,
            "",
            *_lengths(total["by_length"]),
            *(
                f"- {bar.figure}: {_number(bar.value)} ({'<=' if bar.at_most else '>='} "
                f"{bar.limit:g}) {'pass' if bar.met else 'MISS'}"
                for bar in bars
            ),
            *failures,
            *kept,
            "",
        ]
    )


def _lengths(by_length: Sequence[Mapping[str, Any]]) -> list[str]:
    if not by_length:
        return []
    rows = []
    for one in by_length:
        under_s, cost = one["under_s"], one["cost"]
        length = "longer" if under_s is None else f"under {1e3 * under_s:g} ms"
        cells = (length, one["kernels"], _number(cost["static"]), _number(cost["preemptive"]))
        rows.append(f"| {' | '.join(map(str, cells))} |")
    head = "| plain form takes | kernels | static / plain | preemptive / plain |"
    return [head, "| --- | ---: | ---: | ---: |", *rows, ""]


def _row(model: str, about: Mapping[str, Any]) -> str:
    cost = about["cost"] or {}
    equal = f"{about['bit_equal']}/{about['tried']}" if about["tried"] else "-"
    registers = ", ".join(f"{form} {count}" for form, count in about["registers_max"].items())
    cells = (
        model,
        about["kernels"],
        about["launches"],
        about["preemptive"],
        equal,
        _number(about["relative_error"]),
        _number(cost.get("static")),
        _number(cost.get("preemptive")),
        about["ptx"] or "-",
        registers or "-",
        _number(about["shared_bytes_max"]),
    )
    return f"| {' | '.join(map(str, cells))} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
