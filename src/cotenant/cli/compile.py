"""A model and a target go in; a bundle of elastic kernels comes out, with a line on each rung."""

import hashlib
import itertools
from collections import Counter
from pathlib import Path

import click
from rich.console import Console

from cotenant.cli.progress import progress_bar
from cotenant.compiler.assembly import AssemblyCache
from cotenant.compiler.bind import Shape
from cotenant.compiler.bundle import Assemble, write_bundle
from cotenant.compiler.front import lower_model
from cotenant.compiler.nvrtc import Assembled
from cotenant.compiler.program import Program, Target, parse_target
from cotenant.compiler.stages import together
from cotenant.compiler.unit import UnitCache
from cotenant.core.errors import CotenantError
from cotenant.device.cuda.nvrtc import available
from cotenant.graph.cache import cache_folder
from cotenant.graph.load import check_model, resolve_model


@click.command()
@click.argument("model")
@click.option("--target", default="opencl", show_default=True, help="'opencl' or 'cuda:sm_87'.")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder, or X.zip."
)
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1), help="Rows.")
@click.option("--shape", "shapes", multiple=True, metavar="INPUT=1x3x224x224", help="Bind axes.")
def compile(model: str, target: str, out: Path, batch: int, shapes: tuple[str, ...]) -> None:
    """Compile MODEL (a path or zoo:NAME) into a bundle that runs without the compiler.

    A bundle is a folder; with an output that ends in '.zip' it is that one file.
    Kernels are kept, so a second compilation of the same model is quick.
    """
    try:
        chosen = parse_target(target)
        bound = dict(_shape(text) for text in shapes)
        path = resolve_model(model)
        check_model(path)
        program = _lowered(path, bound, batch, chosen)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        outcome = write_bundle(
            program, f"{model} sha256:{digest}", chosen, out, _assembler(program, chosen)
        )
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    rungs = Counter(one.rung.value for one in outcome.values())
    counts = ", ".join(f"{count} {rung}" for rung, count in sorted(rungs.items()))
    click.echo(f"{out}: {len(program.steps)} launches of {len(outcome)} kernels ({counts})")
    if program.variants:
        varied = len({variant.of for variant in program.variants})
        click.echo(
            f"  {len(program.variants)} further schedules of {varied} heavy kernels; "
            f"choose on the device with: cotenant tune {out}"
        )
    for one in outcome.values():
        if one.reason is not None:
            click.echo(f"  {one.kernel} stays as it is: {one.reason}")
    if wide := together(program):
        click.echo(f"  {wide} launches have others in their stage and may run beside them")


def _lowered(path: Path, shapes: dict[str, Shape], batch: int, target: Target) -> Program:
    with progress_bar(Console(stderr=True), counted=True, description_width=40) as progress:
        bar = progress.add_task("", total=None)

        def tell(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        cache = UnitCache(cache_folder() / "kernels")
        return lower_model(path, target, shapes=shapes, batch=batch, cache=cache, tell=tell)


def _assembler(program: Program, target: Target) -> Assemble | None:
    architecture = target.architecture
    if architecture is None:
        return None
    if not available():
        click.echo("no PTX is made; for that: pip install 'cotenant[ptx]'", err=True)
        return None
    count = len(program.kernels) + len(program.variants)
    cache = AssemblyCache(cache_folder() / "ptx")
    numbers = itertools.count(1)

    def told(source: str, name: str) -> Assembled:
        click.echo(f"PTX {next(numbers)}/{count} {name}", err=True)
        return cache.assemble(source, name, architecture)

    return told


def _shape(text: str) -> tuple[str, Shape]:
    name, equals, shape = text.rpartition("=")
    lengths = shape.split("x")
    if not equals or not all(length.isdigit() and int(length) > 0 for length in lengths):
        raise click.BadParameter(f"{text!r} is no shape; write INPUT=1x3x224x224")
    return name, tuple(map(int, lengths))
