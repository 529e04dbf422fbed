"""`cotenant devices`: what this machine is, and how well it can protect critical work."""

import json

import click

from cotenant.cli.options import max_rung_option
from cotenant.core.hardware import allowed_cores, machine_fingerprint
from cotenant.core.units import format_bytes
from cotenant.device.cpu.scheduling import Rung, standing


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@max_rung_option
def devices(as_json: bool, highest: Rung | None) -> None:
    """Show this machine's components and how well they can protect critical work.

    The rung says what the operating system lets Cotenant do, best first: fifo+idle,
    nice+idle, idle, gated. A better rung needs CAP_SYS_NICE (or an rtprio limit):

        sudo setcap cap_sys_nice+ep $(readlink -f $(which python3))
        docker run --cap-add SYS_NICE ...
    """
    machine, found, cores = machine_fingerprint(), standing(highest), allowed_cores()
    capability = "gated" if found.rung is Rung.GATED else "preemptive"
    if as_json:
        component = {"name": "cpu", "kind": "cpu", "cores": cores, "capability": capability}
        answer = {"machine": machine, "components": [component]}
        answer |= {"rung": found.rung, "offered": found.offered, "shortfall": found.shortfall}
        click.echo(json.dumps(answer, indent=2))
        return
    click.echo(
        f"machine    {machine['processor']}, {machine['system']}, "
        f"{format_bytes(float(machine['memory_bytes']))}"
    )
    click.echo(f"component  cpu: cores {', '.join(map(str, cores))}; {capability}")
    click.echo(f"rung       {found.rung}: {found.rung.meaning}")
    if found.shortfall:
        click.echo(f"           {found.shortfall}")
