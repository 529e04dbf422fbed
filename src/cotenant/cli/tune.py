"""`cotenant tune`: a bundle comes in; which schedules its kernels run in here is measured."""

from collections import Counter
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Column
from rich.table import Table as RichTable

from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console
from cotenant.core.errors import CotenantError
from cotenant.device.accelerators import KINDS, open_place
from cotenant.device.bundle import bundle_kind, read_bundle
from cotenant.device.elastic.tuner import tune as tune_on
from cotenant.device.opencl.kind import OPENCL
from cotenant.device.tuning import DEFAULT, Table, Tuned, Width, write_table


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--device",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Number of the device; see 'cotenant devices'.",
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def tune(bundle: Path, device: int, rounds: int, seed: int, as_json: bool) -> None:
    """Measure the schedules of BUNDLE's kernels on this machine's device, and keep the best.

    Each kernel runs in all its schedules, alone and beside a background load. Of the best one, its
    narrow form is measured at each width, and what that costs the load: by how much longer it then
    takes. All of it is written to BUNDLE/tuning.json; from then on, on this device and with this
    driver, the bundle runs in the schedules chosen there, and pads critical kernels only as widely
    as costs them little. Nothing else should use the device meanwhile.
    """
    console = Console(stderr=True)
    try:
        kind = KINDS.get(bundle_kind(bundle) or "", OPENCL)
        read = read_bundle(bundle, kind.name)
        place = open_place(kind, device)
        with progress_bar(console, counted=True, description_width=60) as progress:
            bar = progress.add_task("", total=None)

            def tell(what: str, done: int, total: int) -> None:
                progress.update(bar, description=what, completed=done, total=total)

            rng = np.random.default_rng(seed)
            table = tune_on(read, place, rounds=rounds, rng=rng, tell=tell)
        path = write_table(bundle, table)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(table.model_dump_json(indent=2))
        return
    table_console().print(_shown(table))
    counts = Counter(one.chosen == DEFAULT for one in table.kernels.values())
    click.echo(
        f"{path}: {counts[False]} of {len(table.kernels)} kernels run in another schedule than "
        f"their default one on {table.device}"
    )


def _shown(table: Table) -> RichTable:
    load = f"load of {table.background_s * 1e3:.3g} ms a launch"
    shown = RichTable(
        Column("kernel", overflow="fold"),
        Column("schedule", no_wrap=True),
        "alone ms",
        "beside ms",
        Column("width: ms, cost", min_width=20),
        title=f"{table.device}; medians of {table.rounds} rounds; {load}",
        caption="cost: by how much longer the load takes beside the static form of this width",
    )
    for name, one in table.kernels.items():
        for number, row in enumerate(_rows(one)):
            shown.add_row("" if number else name, *row)
        shown.add_section()
    return shown


def _width(one: Width) -> str:
    cost = "" if one.cost is None else f", {one.cost:+.1%}"
    return f"{one.width}: {one.static_s * 1e3:.3g}{cost}"


def _rows(one: Tuned) -> list[tuple[str, str, str, str]]:
    widths = "\n".join(map(_width, one.widths))
    rows = []
    for schedule, times in one.schedules.items():
        chosen = schedule == one.chosen
        text = f"[green]{schedule} *[/]" if chosen else schedule
        figures = f"{times.alone_s * 1e3:.3g}", f"{times.beside_s * 1e3:.3g}"
        rows.append((text, *figures, widths if chosen else ""))
    rows += [
        (f"[red]{name}[/]", "refused", "", escape(why[:60])) for name, why in one.refused.items()
    ]
    return rows
