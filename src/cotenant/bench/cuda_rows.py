"""A folder goes in; everything that is promised for a CUDA device is measured into it.

Each part is a command of its own in an interpreter of its own, so that one that fails, or a
machine that is lent for a short time, costs no other. The table is made of whatever is there.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cotenant.bench.bars import Bar
from cotenant.bench.header import versions
from cotenant.bench.kernel_report import write_report as write_kernel_report
from cotenant.bench.speed_report import write_speed_report
from cotenant.bench.suite_report import write_suite_report

TABLE = "cuda.md"
_FEW = tuple(word for name in ("cifarnet", "squeezenet", "alexnet") for word in ("--model", name))


class Part(NamedTuple):
    """One command and what makes its report."""

    command: tuple[str, ...]
    quick: tuple[str, ...]
    """Further options for a look that is no measurement."""
    takes_bundles: bool
    """Whether it runs bundles; the other lowers each kernel itself."""
    report: Callable[[Path], tuple[Bar, ...]]


# Speed is first: it compiles the zoo and tunes it, and the suites then run what was chosen.
PARTS: Mapping[str, Part] = {
    "speed": Part(("speed", "--tune", "3"), (*_FEW, "--rounds", "3"), True, write_speed_report),
    "kernels": Part(("kernels",), (*_FEW, "--rounds", "2"), False, write_kernel_report),
    "mdtb": Part(("mdtb",), ("--quick",), True, write_suite_report),
    "disb": Part(("disb",), ("--quick",), True, write_suite_report),
}


def run_part(name: str, folder: Path, *, quick: bool, bundles: Path | None = None) -> int:
    """Measure one part; returns the status of its command, which tells what it does."""
    part = PARTS[name]
    return subprocess.run(
        [
            *(sys.executable, "-m", "cotenant", "bench", *part.command),
            *("--component", "cuda", "--out", str(folder / name)),
            *(part.quick if quick else ()),
            *(("--bundles", str(bundles)) if bundles and part.takes_bundles else ()),
        ],
        check=False,
    ).returncode


def write_rows(folder: Path, device: str) -> Path:
    """The table of all that was measured in the folder, and of what was not."""
    lines = [
        "# CUDA",
        "",
        f"{device}.",
        f"Versions: {', '.join(f'{name} {one}' for name, one in versions().items())}",
        "",
        "| part | scenario | figure | value | bar | |",
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    for name, part in PARTS.items():
        if not (folder / name / "records.jsonl").is_file():
            lines.append(f"| {name} | | not measured | | | |")
            continue
        lines += _rows(name, part.report(folder / name))
    path = folder / TABLE
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def _rows(name: str, bars: Iterable[Bar]) -> Iterable[str]:
    for bar in bars:
        value = "not measured" if bar.value is None else f"{bar.value:.4g}"
        limit = f"{'<=' if bar.at_most else '>='} {bar.limit:g}"
        verdict = "pass" if bar.met else "MISS"
        yield f"| {name} | {bar.scenario} | {bar.figure} | {value} | {limit} | {verdict} |"
    yield f"| {name} | | [whole report]({name}/report.md) | | | |"
