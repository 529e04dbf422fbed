"""Records of the suite `speed` go in; `summary.json`, `report.md` and the bars come out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from cotenant.bench.bars import Bar
from cotenant.bench.contestants import OURS
from cotenant.bench.report import REPORT, SUMMARY
from cotenant.bench.speed import RECORDS, SUITE
from cotenant.core.units import format_duration

_CUDA_RATIO_MAX = 2.0


def write_speed_report(folder: Path) -> tuple[Bar, ...]:
    """Make the report from the records in `folder`; returns the bars."""
    header, *lines = map(orjson.loads, (folder / RECORDS).read_bytes().splitlines())
    models = {line["model"]: _figures(line) for line in lines}
    bars = tuple(_bars(header, models))
    summary = {
        key: header[key]
        for key in ("suite", "machine", "versions", "seed", "target", "device", "driver")
    } | {"models": models, "bars": [bar._asdict() | {"met": bar.met} for bar in bars]}
    document = orjson.dumps(summary, option=orjson.OPT_INDENT_2)
    (folder / SUMMARY).write_bytes(document + b"\n")
    (folder / REPORT).write_text(_markdown(header, models, bars), encoding="utf-8")
    return bars


def _figures(line: Mapping[str, Any]) -> dict[str, Any]:
    """Medians of each contestant, and of ours over each other, round by round."""
    rounds: Sequence[Mapping[str, float]] = line.get("rounds", ())
    names = list(rounds[0]) if rounds else []
    return {
        "median_s": {name: float(np.median([one[name] for one in rounds])) for name in names},
        "ratio": {
            name: float(np.median([one[OURS] / one[name] for one in rounds]))
            for name in names
            if name != OURS
        },
        "failure": line.get("failure"),
        "alone_because": line.get("alone_because"),
    }


def _bars(header: Mapping[str, Any], models: Mapping[str, Any]) -> list[Bar]:
    if not header["target"].startswith("cuda"):
        return []
    return [
        Bar(SUITE, f"{model}: ours / {name}", ratio, _CUDA_RATIO_MAX, True)
        for model, about in models.items()
        for name, ratio in about["ratio"].items()
        if name.endswith("float32")
    ]


def _markdown(header: Mapping[str, Any], models: Mapping[str, Any], bars: Sequence[Bar]) -> str:
    others = sorted({name for about in models.values() for name in about["ratio"]})
    heads = ["model", OURS, *(head for name in others for head in (name, f"{OURS} / {name}"))]
    rows = []
    for model, about in models.items():
        if about["median_s"]:
            cells = [model, format_duration(about["median_s"][OURS])]
            for name in others:
                ratio = about["ratio"].get(name)
                cells += ["-", "-"] if ratio is None else [
                    format_duration(about["median_s"][name]), f"{ratio:.2f}"
                ]  # fmt: skip
            rows.append(f"| {' | '.join(cells)} |")
    notes = [
        f"- {model}: {about[what]}"
        for what in ("failure", "alone_because")
        for model, about in models.items()
        if about[what]
    ]
    if not others:
        notes.append("- no other framework was there to be measured")
    tuned = header["tuning_rounds"]
    return "\n".join(
        [
            "# Plain speed, alone",
            "",
            f"{header['device']}; {header['driver']}; {header['target']}; "
            f"{'schedules tuned on the device' if tuned else 'default schedules'}.",
            f"Versions: {', '.join(f'{name} {one}' for name, one in header['versions'].items())}",
            f"Seed {header['seed']}; medians of {header['rounds']} interleaved rounds.",
            "",
            f"| {' | '.join(heads)} |",
            "| --- " + "| ---: " * (len(heads) - 1) + "|",
            *rows,
            "",
            *(
                f"- {bar.figure}: {bar.value:.3g} (<= {bar.limit:g}) "
                f"{'pass' if bar.met else 'MISS'}"
                for bar in bars
            ),
            *notes,
            "",
        ]
    )
