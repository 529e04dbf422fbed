"""`cotenant bench theory`: options come in, the simulator is compared with known queues."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from cotenant.bench import edge_tpu
from cotenant.bench.edge_tpu import SwapRow
from cotenant.bench.theory import Row, cases, replicate
from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console
from cotenant.core.units import format_duration

_SUMMARY = "summary.json"
_SWAP_LOAD = 0.5


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--replications", type=click.IntRange(3), default=20, show_default=True)
@click.option(
    "--scale",
    type=click.FloatRange(0.01),
    default=1.0,
    show_default=True,
    help="Length of a replication, relative to the built-in ones.",
)
@click.option(
    "--swap-requests",
    type=click.IntRange(0),
    default=32_000,
    show_default=True,
    help="For each pair and triple of the EdgeTPU table; 0 leaves them out.",
)
def theory(*, out: Path, seed: int, replications: int, scale: float, swap_requests: int) -> None:
    """Compare the simulator with queues whose answer is known, at three loads.

    One mean in twenty lies outside of its 95 % interval by chance.
    """
    rng, swap_rng = np.random.default_rng(seed).spawn(2)
    every = tuple(cases())
    sets = tuple(edge_tpu.sets()) if swap_requests else ()
    rows: list[Row] = []
    swaps: list[SwapRow] = []
    with progress_bar(Console(stderr=True), counted=True) as progress:
        bar = progress.add_task("queues", total=len(every) + len(sets))
        for case, own in zip(every, rng.spawn(len(every)), strict=True):
            progress.update(bar, description=f"{case.queue}, load {case.load}")
            rows += replicate(case, replications, own, scale)
            progress.advance(bar)
        for models, own in zip(sets, swap_rng.spawn(len(sets)), strict=True):
            progress.update(bar, description=" + ".join(models))
            swaps.append(edge_tpu.compare(models, _SWAP_LOAD, swap_requests, own))
            progress.advance(bar)
    out.mkdir(parents=True, exist_ok=True)
    summary = _summary(rows, swaps, seed, replications)
    (out / _SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    _show(rows, swaps)
    click.echo(f"Summary: {out / _SUMMARY}")


def _summary(
    rows: Sequence[Row], swaps: Sequence[SwapRow], seed: int, replications: int
) -> dict[str, object]:
    return {
        "suite": "theory",
        "seed": seed,
        "replications": replications,
        "inside": sum(row.inside for row in rows),
        "inside_family": sum(row.inside_family for row in rows),
        "comparisons": len(rows),
        "rows": [
            {**row._asdict(), "inside": row.inside, "inside_family": row.inside_family}
            for row in rows
        ],
        "edge_tpu": {
            "load": _SWAP_LOAD,
            "sets": len(swaps),
            "worst_error": max((one.error for one in swaps), default=None),
            "rows": [{**one._asdict(), "error": one.error} for one in swaps],
        },
    }


def _show(rows: Sequence[Row], swaps: Sequence[SwapRow]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("queue", "load", "task", "simulated", "+- 95 %", "theory", ""):
        table.add_column(title, justify="left" if title in ("queue", "task", "") else "right")
    for row in rows:
        table.add_row(
            row.queue,
            f"{row.load:g}",
            row.task,
            format_duration(row.simulated_s),
            f"{row.half_s / row.simulated_s:.1%}",
            format_duration(row.theory_s),
            "inside" if row.inside else "outside",
        )
    console = table_console()
    console.print(table)
    inside, family = sum(row.inside for row in rows), sum(row.inside_family for row in rows)
    console.print(
        f"theory inside the intervals that all rows keep together with 95 %: {family} of "
        f"{len(rows)}; inside the 95 % interval of its row: {inside} ({inside / len(rows):.1%})",
        highlight=False,
    )
    if swaps:
        worst = max(swaps, key=lambda one: one.error)
        console.print(
            f"EdgeTPU swaps, {len(swaps)} pairs and triples at load {_SWAP_LOAD}: worst error "
            f"{worst.error:.2%} ({' + '.join(worst.models)})",
            highlight=False,
        )
