"""`cotenant bench kernels`: a target comes in, a folder with a table of every kernel comes out."""

from pathlib import Path

import click
from rich.console import Console

from cotenant.bench.kernel_device import DeviceExaminer
from cotenant.bench.kernel_report import write_report
from cotenant.bench.kernels import Examiner, PtxExaminer, Settings, measure
from cotenant.bench.servers import sigterm_interrupts
from cotenant.cli.progress import progress_bar
from cotenant.compiler.program import parse_target
from cotenant.core.errors import CotenantError, DeviceError, Unsupported
from cotenant.device.accelerators import KINDS
from cotenant.device.elastic.find import find_devices
from cotenant.device.elastic.kind import Kind
from cotenant.graph.zoo import ZOO

_OUT = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--out", type=_OUT, required=True, help="Folder for records and reports.")
@click.option("--target", help="'opencl' or 'cuda:sm_87'; default: what the component needs.")
@click.option("--component", type=click.Choice(sorted(KINDS)), help="Run on its first device.")
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
    target: str | None,
    component: str | None,
    models: tuple[str, ...],
    rounds: int,
    seed: int,
    strict: bool,
) -> None:
    """Every kernel of every zoo model: do its elastic forms agree, and what do they cost.

    On a component they run on the first device, each form against the other; that is OpenCL
    unless another is named. With a CUDA target and no component they are compiled to PTX,
    which needs no GPU. Kernels are kept, so a second run is quicker.
    """
    console = Console(stderr=True)
    try:
        if component is None and target in (None, "opencl"):
            component = "opencl"
        chosen = parse_target(target or _target_of(KINDS[component or "opencl"]))
        settings = Settings(chosen, models or tuple(ZOO), rounds, seed)
        examiner = _examiner(component, settings)
        with progress_bar(console, counted=True, description_width=60) as progress:
            bar = progress.add_task("", total=None)

            def tell(what: str, done: int, total: int) -> None:
                progress.update(bar, description=what, completed=done, total=total)

            with sigterm_interrupts():
                try:
                    measure(out, settings, examiner, tell)
                except KeyboardInterrupt:
                    console.print("stopped; the report covers the kernels that had ended")
        bars = write_report(out)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    click.echo((out / "report.md").read_text(encoding="utf-8"))
    if strict and not all(one.met for one in bars):
        context.exit(1)


def _target_of(kind: Kind) -> str:
    """What the first device of a kind is compiled for."""
    found = find_devices(kind)
    if not found:
        raise DeviceError(f"there is no {kind.title} device; {kind.remedy}")
    return found[0].target


def _examiner(component: str | None, settings: Settings) -> Examiner:
    target = settings.target
    if component is None:
        return PtxExaminer(target.architecture or "")
    if str(target).partition(":")[0] != component:
        raise Unsupported(f"kernels for {target} do not run on a component of kind {component}")
    return DeviceExaminer(KINDS[component], settings)
