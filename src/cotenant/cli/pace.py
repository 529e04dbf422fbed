"""`cotenant bench pace`: options come in, how fast predictions and simulations are comes out."""

from pathlib import Path

import click

from cotenant.bench.pace import cases, measure
from cotenant.cli.measuring import print_bars
from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console
from cotenant.core.errors import CotenantError


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--requests", type=click.IntRange(100), default=300_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--strict", is_flag=True, help="Exit with 1 when a bar is missed.")
@click.pass_context
def pace(
    context: click.Context, /, *, out: Path, rounds: int, requests: int, seed: int, strict: bool
) -> None:
    """Time 'predict' on fifty tasks, and how many requests a second 'simulate' does."""
    try:
        with progress_bar(table_console(), counted=True) as progress:
            bar = progress.add_task("commands", total=rounds * len(cases(seed)))
            bars = measure(
                out,
                rounds=rounds,
                requests=requests,
                seed=seed,
                ended=lambda: progress.advance(bar),
            )
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    print_bars(bars, out)
    if strict and not all(one.met for one in bars):
        context.exit(1)
