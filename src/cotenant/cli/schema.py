"""`cotenant schema`: the JSON Schema of the workload file."""

import click

from cotenant.core.workload import workload_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of the workload file.

    Editors that know it complete and check a workload file as you type:

        cotenant schema > cotenant.schema.json
    """
    click.echo(workload_schema())
