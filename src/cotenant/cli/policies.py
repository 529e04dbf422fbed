"""`cotenant policies`: who can decide what runs."""

import ast
import inspect
import json
from pathlib import Path

import click

from cotenant.policy import POLICIES


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def policies(as_json: bool) -> None:
    """List the policies that decide who runs; choose one with 'policy:' or '--policy'.

    Some decide kernel by kernel, which needs an elastic component: an OpenCL or CUDA device.
    'cotenant@0.2' is the policy 'cotenant' with an epsilon of 0.2: the part of its own time by
    which padding may lengthen a critical kernel there.
    """
    about = {
        name: _first_line(inspect.getfile(policy))
        + (" Needs an elastic component." if policy().by_kernel else "")
        for name, policy in POLICIES.items()
    }
    if as_json:
        click.echo(json.dumps(about, indent=2))
        return
    for name, text in about.items():
        click.echo(f"{name:22}{text}")


def _first_line(file: str) -> str:
    """Of what a module says of itself; a compiled one says it in the source beside it only."""
    source = Path(file).with_name(Path(file).name.partition(".")[0] + ".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
    return (text or "").partition("\n")[0]
