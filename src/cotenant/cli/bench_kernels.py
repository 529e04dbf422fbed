"""`cotenant bench kernels`: a target comes in, a folder with a table of every kernel comes out."""

import importlib
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cotenant.bench.kernel_report import write_report
from cotenant.bench.kernels import Examiner, PtxExaminer, Settings, measure
from cotenant.compiler.program import parse_target
from cotenant.core.errors import CotenantError, Unsupported
from cotenant.graph.zoo import ZOO

_OUT = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--out", type=_OUT, required=True, help="Folder for records and reports.")
@click.option("--target", default="opencl", show_default=True, help="'opencl' or 'cuda:sm_87'.")
@click.option("--model", "models", multiple=True, type=click.Choice(sorted(ZOO)), help="Only it.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--strict", is_flag=True, help="Exit with 1 when a bar is missed.")
@click.pass_context
def kernels(
    context: click.Context,
    /,
    *,
    out: Path,
    target: str,
    models: tuple[str, ...],
    rounds: int,
    seed: int,
    strict: bool,
) -> None:
    """Every kernel of every zoo model: do its elastic forms agree, and what do they cost.

    For OpenCL they run on the first device, each form against the other; for CUDA they are
    compiled to PTX, which needs no GPU. Kernels are kept, so a second run is quicker.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:>60.60}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    try:
        settings = Settings(parse_target(target), models or tuple(ZOO), rounds, seed)
        examiner = _examiner(settings)
        with Progress(*columns, console=console, refresh_per_second=1) as progress:
            bar = progress.add_task("", total=None)

            def tell(what: str, done: int, total: int) -> None:
                progress.update(bar, description=what, completed=done, total=total)

            measure(out, settings, examiner, tell)
        bars = write_report(out)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    click.echo((out / "report.md").read_text(encoding="utf-8"))
    if strict and not all(one.met for one in bars):
        context.exit(1)


def _examiner(settings: Settings) -> Examiner:
    if settings.target.architecture is not None:
        return PtxExaminer(settings.target.architecture)
    try:  # imported here, since it needs an extra of the installation
        room = importlib.import_module("cotenant.bench.kernel_device")
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"running kernels needs {error.name!r}, which is not installed; "
            "run: pip install 'cotenant[opencl]'"
        ) from error
    examiner: Examiner = room.DeviceExaminer(settings)
    return examiner
