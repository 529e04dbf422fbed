"""`cotenant bench cuda`: a machine with an NVIDIA GPU comes in, one table of its rows comes out."""

from pathlib import Path

import click

from cotenant.bench.cuda_rows import PARTS, run_part, write_rows
from cotenant.bench.suite_run import choose_place
from cotenant.core.errors import CotenantError

_OUT = click.Path(path_type=Path, file_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command()
@click.option("--out", type=_OUT, required=True, help="Folder for records and the table.")
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)), help="Only it.")
@click.option("--bundles", type=_FOLDER, help="Folder of bundles, NAME for zoo:NAME.")
@click.option("--quick", is_flag=True, help="A look at a few models, no measurement.")
@click.pass_context
def cuda(
    context: click.Context,
    /,
    *,
    out: Path,
    parts: tuple[str, ...],
    bundles: Path | None,
    quick: bool,
) -> None:
    """All figures for a CUDA device: kernels, plain speed beside PyTorch, MDTB and DISB.

    Models are compiled for the first device, and tuned on it; with --bundles they were compiled
    elsewhere, and only the part 'kernels' needs the compiler. Parts may be measured one at a
    time: each call makes the table anew from all that lies in the folder.
    """
    try:
        place = choose_place("cuda")
        out.mkdir(parents=True, exist_ok=True)
        failed = [
            name for name in parts or PARTS if run_part(name, out, quick=quick, bundles=bundles)
        ]
        table = write_rows(out, f"{place.device}, {place.target}")
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    click.echo(table.read_text(encoding="utf-8"))
    for name in failed:
        click.echo(f"{name} ended before its end; what it says stands above", err=True)
    if failed:
        context.exit(1)
