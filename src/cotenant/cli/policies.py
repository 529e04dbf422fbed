"""`cotenant policies`: who can decide what runs."""

import inspect
import json

import click

from cotenant.policy import POLICIES


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def policies(as_json: bool) -> None:
    """List the policies that decide who runs; choose one with 'policy:' or '--policy'."""
    about = {
        name: (inspect.getdoc(inspect.getmodule(policy)) or "").splitlines()[0]
        for name, policy in POLICIES.items()
    }
    if as_json:
        click.echo(json.dumps(about, indent=2))
        return
    for name, text in about.items():
        click.echo(f"{name:16}{text}")
