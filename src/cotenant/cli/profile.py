"""`cotenant profile`: a workload comes in, a profile of it on this machine goes out."""

import asyncio
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from cotenant.cli import forecast
from cotenant.cli.options import counts
from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console
from cotenant.core.units import format_bytes, format_duration
from cotenant.pipeline import load
from cotenant.profiling.file import save_profile
from cotenant.profiling.measure import Effort, Progress, measure
from cotenant.profiling.profile import LEVELS, Profile, ServiceTime
from cotenant.profiling.variations import variations

_P99 = LEVELS.index(0.99)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@forecast.workload_argument
@click.option("-o", "--out", type=_FILE, required=True, help="File for the profile.")
@click.option("--rounds", type=click.IntRange(3), default=10, show_default=True, help="At most.")
@click.option(
    "--requests",
    type=click.IntRange(5),
    default=20,
    show_default=True,
    help="Of each task in a visit.",
)
@click.option(
    "--tight",
    type=click.FloatRange(0.0, 1.0),
    default=0.02,
    show_default=True,
    help="Relative error of a mean at which it is measured no more.",
)
@click.option(
    "--alone",
    type=click.IntRange(0),
    default=Effort().alone,
    show_default=True,
    help="Requests of each task alone, at least: fewer say nothing of its p99.",
)
@click.option("--widths", callback=counts, metavar="N,N", help="Cores to run each task with, too.")
@click.option(
    "--segments",
    callback=counts,
    metavar="N,N",
    help="Numbers of segments to cut each task into, too; each segment is measured.",
)
@forecast.policy_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def profile(
    *,
    path: Path,
    out: Path,
    rounds: int,
    requests: int,
    tight: float,
    alone: int,
    widths: tuple[int, ...],
    segments: tuple[int, ...],
    policy: str | None,
    seed: int,
) -> None:
    """Measure every task of WORKLOAD on this machine, alone and beside each other.

    Leave the machine alone meanwhile. 'cotenant predict' reads the profile. Where a task is cut
    into segments, each segment's time is measured, too.
    """
    workload = forecast.under(load(path), policy)
    forms = variations(workload, widths, segments)
    with progress_bar(Console(stderr=True), counted=True) as progress:
        bar = progress.add_task("loading", total=None)

        def seen(now: Progress) -> None:
            progress.update(bar, description=now.doing, completed=now.done, total=now.total)

        effort = Effort(requests, rounds, tight, alone)
        made = asyncio.run(measure(workload, effort, np.random.default_rng(seed), seen, forms))
    save_profile(made, out)
    _show(made)
    click.echo(f"Profile: {out}")


def _show(made: Profile) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("model", "width", "batch", "mean", "p99", "error", "overhead", "load", "memory"):
        table.add_column(title, justify="left" if title == "model" else "right")
    for one in made.alone:
        table.add_row(
            one.model,
            str(one.subject.width),
            str(one.batch),
            *_times(one.service),
            f"{one.relative_error:.1%}",
            format_duration(one.overhead_s),
            format_duration(one.load_s),
            format_bytes(float(one.memory_bytes)),
        )
        for number, segment in enumerate(one.by_segment, start=1):
            table.add_row(f"  segment {number} of {one.subject.segments}", "", "", *_times(segment))
    table_console().print(table)


def _times(service: ServiceTime) -> tuple[str, str]:
    return format_duration(service.mean_s), format_duration(service.quantiles_s[_P99])
