"""Names go in; a table (or JSON) of the zoo's networks comes out, and their files on demand."""

import json
from typing import NamedTuple

import click
from onnx import ValueInfoProto
from rich.console import Console
from rich.table import Table

from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console
from cotenant.core.errors import CotenantError
from cotenant.core.units import format_bytes
from cotenant.graph.flops import model_flops
from cotenant.graph.wire import model_size_bytes
from cotenant.graph.zoo import ZOO, zoo_blueprint, zoo_cached, zoo_path


class Entry(NamedTuple):
    """What the list says of one network."""

    name: str
    inputs: dict[str, list[int | str]]
    """Shape by name; a word stands for an axis whose length each request chooses."""
    outputs: dict[str, list[int | str]]
    parameters: int
    flops: int
    """Operations of one inference at a batch of one."""
    size_bytes: int
    batchable: bool
    cached: bool


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--materialise", is_flag=True, help="Draw the weights now, and keep the files.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the draw.")
def zoo(names: tuple[str, ...], as_json: bool, materialise: bool, seed: int) -> None:
    """List the networks that a workload can name as 'zoo:NAME'.

    Their weights are drawn, the same for one seed on every machine, when they are first used.
    """
    chosen = tuple(name.removeprefix("zoo:") for name in names) or tuple(ZOO)
    try:
        if materialise:
            _materialise(chosen, seed)
        entries = [_entry(name, seed) for name in chosen]
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([entry._asdict() for entry in entries], indent=2))
    else:
        table_console().print(_table(entries))


def _entry(name: str, seed: int) -> Entry:
    plan = zoo_blueprint(name)
    skeleton = plan.skeleton(seed)
    graph = plan.model.graph
    inputs = {value.name: _shape(value) for value in graph.input}
    return Entry(
        name=name,
        inputs=inputs,
        outputs={value.name: _shape(value) for value in graph.output},
        parameters=plan.parameters,
        flops=model_flops(skeleton),
        size_bytes=model_size_bytes(skeleton),
        batchable=all(isinstance(shape[0], str) for shape in inputs.values()),
        cached=zoo_cached(name, seed=seed),
    )


def _materialise(names: tuple[str, ...], seed: int) -> None:
    # The bar goes to standard error, so that --json stays readable by a program.
    with progress_bar(Console(stderr=True), counted=True, description_width=14) as progress:
        bar = progress.add_task("", total=len(names))
        for name in names:
            progress.update(bar, description=name)
            zoo_path(name, seed=seed)
            progress.advance(bar)


def _shape(value: ValueInfoProto) -> list[int | str]:
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def _table(entries: list[Entry]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("input")
    table.add_column("output")
    for title in ("parameters", "GFLOPs", "file"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("batch")
    table.add_column("cached")
    for entry in entries:
        table.add_row(
            f"zoo:{entry.name}",
            _signature(entry.inputs),
            _signature(entry.outputs),
            f"{entry.parameters / 1e6:.2f} M",
            f"{entry.flops / 1e9:.3f}",
            format_bytes(entry.size_bytes),
            "any" if entry.batchable else "fixed",
            "yes" if entry.cached else "no",
        )
    return table


def _signature(values: dict[str, list[int | str]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in values.items())
