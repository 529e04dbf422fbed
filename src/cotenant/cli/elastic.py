"""A CUDA C or OpenCL C file goes in; the same with elastic forms of its kernels comes out."""

from pathlib import Path

import click

from cotenant.compiler.elastic import make_elastic
from cotenant.compiler.source import Language
from cotenant.core.errors import CotenantError


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Write here, not to standard output."
)
def elastic(file: Path, out: Path | None) -> None:
    """Give every kernel K of FILE (.cu or .cl) two more forms: K_static and K_preemptive.

    A kernel whose blocks wait for each other stays as it is; why is said on standard error.
    """
    suffix = file.suffix.removeprefix(".")
    if suffix not in tuple(Language):
        raise click.BadParameter(f"{file.name!r} is neither CUDA C (.cu) nor OpenCL C (.cl)")
    try:
        made = make_elastic(file.read_text(encoding="utf-8"), Language(suffix))
    except (CotenantError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{str(file)!r}: {error}") from error
    for one in made.kernels:
        click.echo(f"{one.kernel}: {one.rung}{f', {one.reason}' if one.reason else ''}", err=True)
    if not made.kernels:
        raise click.ClickException(f"{str(file)!r} defines no kernel; nothing was written")
    if out is None:
        click.echo(made.text, nl=False)
    else:
        out.write_text(made.text, encoding="utf-8")
