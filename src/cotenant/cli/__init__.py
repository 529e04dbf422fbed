"""The command line: one small file for each group of commands, imported when it is asked for."""

import importlib
import logging
import sys

import click

from cotenant import __version__
from cotenant.core.errors import CotenantError
from cotenant.core.native import outdated

_COMMANDS = {
    "serve": "Serve many models on this machine.",
    "demo": "See critical latency stay flat: twenty seconds on real models.",
    "bench": "Measure policies against each other, and the server's own cost.",
    "profile": "Measure a workload's models on this machine, alone and beside each other.",
    "predict": "Say what latency each task will have, and whether all of them fit.",
    "capacity": "Find how far the rates may grow before something no longer fits.",
    "whatif": "Show what adding, removing or changing tasks would do.",
    "simulate": "Predict latencies: the same coordinator on a virtual clock.",
    "zoo": "List the models that need no download.",
    "compile": "Make a model into kernels that shrink and pause, in a bundle.",
    "tune": "Measure the schedules of a bundle's kernels on this device, and keep the best.",
    "elastic": "Give the kernels of a CUDA or OpenCL file their elastic forms.",
    "devices": "Show this machine's components and how well they can protect critical work.",
    "policies": "List the policies that decide who runs.",
    "schema": "Print the JSON Schema of the workload file.",
}
"""Name and one line of help; the command lives in the file of its name."""


class _Commands(click.Group):
    """Imports a command's file only when it is run, so that `--help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"cotenant.cli.{cmd_name}"), cmd_name
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cotenant")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def _cli(verbose: bool) -> None:
    """Many neural networks share one machine: critical ones run as if alone.

    Start with 'cotenant demo', then describe your own models in a workload file and run
    'cotenant serve workload.yaml'.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )


def main() -> None:
    """Run the command line; an error of ours is one clear message, not a traceback."""
    if changed := outdated():
        click.echo(
            f"cotenant: {changed[0].name} has changed since it was compiled; run 'make setup', or "
            "'make pure' to do without compiled modules",
            err=True,
        )
        sys.exit(2)
    try:
        _cli(prog_name="cotenant")
    except CotenantError as error:
        click.echo(f"cotenant: {error}", err=True)
        sys.exit(2)
