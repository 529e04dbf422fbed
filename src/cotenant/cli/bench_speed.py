"""`cotenant bench speed`: a component comes in, a table of every model's plain speed comes out."""

from pathlib import Path

import click
from rich.console import Console

from cotenant.bench.bundles import require_compiler
from cotenant.bench.speed import Settings, measure
from cotenant.bench.speed_report import write_speed_report
from cotenant.bench.suite_run import choose_place
from cotenant.cli.measuring import print_bars
from cotenant.cli.progress import progress_bar
from cotenant.core.errors import CotenantError
from cotenant.device.accelerators import KINDS, open_place
from cotenant.graph.zoo import ZOO

_OUT = click.Path(path_type=Path, file_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command()
@click.option("--out", type=_OUT, required=True, help="Folder for records and reports.")
@click.option("--component", type=click.Choice(sorted(KINDS)), default="opencl", show_default=True)
@click.option("--model", "models", multiple=True, type=click.Choice(sorted(ZOO)), help="Only it.")
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--tune", "tuning", type=click.IntRange(0), default=0, show_default=True,
    help="Rounds of tuning before, where a bundle has no table for this device.",
)  # fmt: skip
@click.option("--bundles", type=_FOLDER, help="Folder of bundles, NAME for zoo:NAME.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--strict", is_flag=True, help="Exit with 1 when a bar is missed.")
@click.pass_context
def speed(
    context: click.Context,
    /,
    *,
    out: Path,
    component: str,
    models: tuple[str, ...],
    rounds: int,
    tuning: int,
    bundles: Path | None,
    seed: int,
    strict: bool,
) -> None:
    """Untransformed kernels alone against what a user would take on that device.

    On CUDA that is PyTorch with cuDNN in float32 and TF32, if it is installed; elsewhere it is
    ONNX Runtime on the processor.
    """
    console = Console(stderr=True)
    try:
        if bundles is None:
            require_compiler()
        target = choose_place(component).target or component
        place = open_place(KINDS[component])
        settings = Settings(component, target, models or tuple(ZOO), rounds, tuning, bundles, seed)
        with progress_bar(console) as progress:
            bar = progress.add_task("", total=None)

            def tell(what: str, done: int, total: int) -> None:
                progress.update(bar, description=what, completed=done, total=total)

            measure(out, settings, place, tell)
        bars = write_speed_report(out)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    print_bars(bars, out)
    if strict and not all(one.met for one in bars):
        context.exit(1)
