"""`cotenant policies`: who can decide what runs."""

import inspect
import json

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
        name: (inspect.getdoc(inspect.getmodule(policy)) or "").splitlines()[0]
        + (" Needs an elastic component." if policy().by_kernel else "")
        for name, policy in POLICIES.items()
    }
    if as_json:
        click.echo(json.dumps(about, indent=2))
        return
    for name, text in about.items():
        click.echo(f"{name:22}{text}")
