"""`cotenant devices`: what this machine is, and how well it can protect critical work."""

import json

import click

from cotenant.cli.options import max_rung_option
from cotenant.core.errors import DeviceError
from cotenant.core.hardware import allowed_cores, machine_fingerprint
from cotenant.core.units import format_bytes
from cotenant.device.accelerators import KINDS
from cotenant.device.cpu.scheduling import Rung, standing, throttled_s
from cotenant.device.elastic.find import Found, find_devices
from cotenant.device.elastic.kind import Kind


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@max_rung_option
def devices(as_json: bool, highest: Rung | None) -> None:
    """Show this machine's components and how well they can protect critical work.

    The rung says what the operating system lets Cotenant do, best first: fifo+idle,
    nice+idle, idle, gated. A better rung needs CAP_SYS_NICE (or an rtprio limit):

        sudo setcap cap_sys_nice+ep $(readlink -f $(which python3))
        docker run --cap-add SYS_NICE ...

    An OpenCL or CUDA device takes part when a workload file names it:

        components: [{name: gpu0, kind: opencl, device: 0}]
    """
    machine, found, cores = machine_fingerprint(), standing(highest), allowed_cores()
    capability = "gated" if found.rung is Rung.GATED else "preemptive"
    throttled = throttled_s() if found.rung is Rung.FIFO_IDLE else 0.0
    accelerators = {kind: _devices_of(kind) for kind in KINDS.values()}
    if as_json:
        cpu = {"name": "cpu", "kind": "cpu", "cores": cores, "capability": capability}
        elastic = [
            {"kind": kind.name, "device": number, **one._asdict(), "capability": "elastic"}
            for kind, (there, _) in accelerators.items()
            for number, one in enumerate(there)
        ]
        answer = {
            "machine": machine,
            "components": [cpu, *elastic],
            "rung": found.rung,
            "offered": found.offered,
            "shortfall": found.shortfall,
            "throttled_s": throttled,
        }
        click.echo(json.dumps(answer, indent=2))
        return
    click.echo(
        f"machine    {machine['processor']}, {machine['system']}, "
        f"{format_bytes(float(machine['memory_bytes']))}"
    )
    click.echo(f"component  cpu: cores {', '.join(map(str, cores))}; {capability}")
    for kind, (there, missing) in accelerators.items():
        for number, one in enumerate(there):
            click.echo(
                f"component  {kind.name}, device {number}: {one.name}, {one.units} units, "
                f"{format_bytes(float(one.memory_bytes))}; elastic; --target {one.target}"
            )
        if missing:
            click.echo(f"component  {kind.name}: none; {missing}")
    click.echo(f"rung       {found.rung}: {found.rung.meaning}")
    if found.shortfall:
        click.echo(f"           {found.shortfall}")
    if throttled:
        click.echo(
            f"           critical work that fills a core stands still for {throttled * 1e3:.0f} ms "
            "of each second; where yours does, 'sysctl -w kernel.sched_rt_runtime_us=-1'"
        )


def _devices_of(kind: Kind) -> tuple[tuple[Found, ...], str | None]:
    """The devices of a kind, or why there are none."""
    try:
        found = find_devices(kind)
    except DeviceError as error:
        return (), str(error)
    return found, None if found else f"no device was found; {kind.remedy}"
