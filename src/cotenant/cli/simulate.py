"""`cotenant simulate`: a workload and service times come in, predicted latencies come out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from cotenant.cli import forecast
from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console
from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import CotenantError, WorkloadError
from cotenant.core.hardware import Capability, Component, allowed_cores
from cotenant.core.task import ClosedLoop
from cotenant.core.units import format_duration, parse_duration
from cotenant.core.workload import Workload, load_workload
from cotenant.policy import POLICIES, policy_by_name
from cotenant.policy.base import Policy
from cotenant.prediction.predict import mix_under
from cotenant.prediction.virtual import scene_of
from cotenant.profiling.file import load_profile, origin
from cotenant.profiling.subject import subject_of
from cotenant.runtime.laws import ServiceLaw, drawn, gamma_law
from cotenant.runtime.simulate import Scene, Simulated
from cotenant.runtime.simulate import simulate as run_simulation
from cotenant.runtime.tally import Figures, Tally

_FULL = 0.99
"""Utilization from which on queues are taken to grow without end."""
_CAPABILITIES = [level.name.lower() for level in Capability]


@click.command()
@click.argument("workload_file", type=click.Path(path_type=Path), metavar="WORKLOAD")
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="NAME=TIME[,cv=N]",
    help="Service time of a task alone, and its coefficient of variation: det=40ms,cv=0.1",
)
@click.option(
    "--profile", "profile_path", type=click.Path(path_type=Path, dir_okay=False),
    help="From 'cotenant profile': service times, interference and machine, instead of --service.",
)  # fmt: skip
@forecast.any_machine_option
@click.option("--requests", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--policy", help="Who runs when; the workload's own when absent.")
@click.option("--cores", type=click.IntRange(1, 1024), help="Of the machine; this one's if absent.")
@click.option(
    "--capability",
    type=click.Choice(_CAPABILITIES),
    help="What the machine can do with work that has started; preemptive if absent.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def simulate(
    *,
    workload_file: Path,
    services: tuple[str, ...],
    profile_path: Path | None,
    any_machine: bool,
    requests: int,
    seed: int,
    policy: str | None,
    cores: int | None,
    capability: str | None,
    as_json: bool,
) -> None:
    """Run a workload on a virtual clock, through the coordinator that would serve it.

    A tenth of the requests is served first, and not counted.
    """
    try:
        workload = forecast.under(load_workload(workload_file), policy)
        rng, service_rng = np.random.default_rng(seed).spawn(2)
        if profile_path is None:
            level = Capability[(capability or "preemptive").upper()]
            scene = Scene(
                workload.tasks,
                _components(workload, cores, level),
                _policy(workload.policy),
                drawn(_laws(services, workload), workload.tasks, service_rng),
            )
        elif services or cores or capability:
            raise WorkloadError(
                "--profile says what --service, --cores and --capability would; leave them away"
            )
        else:
            profile = load_profile(profile_path, None if any_machine else origin())
            mix = mix_under(workload, profile, subject_of)
            scene = scene_of(workload, profile, mix, service_rng)
        tallies = {task.name: Tally(task) for task in workload.tasks}
        clock = MonotonicClock()
        began_s = clock.now()
        ended = _watched(scene, requests, rng, tallies)
        took_s = clock.now() - began_s
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    figures = {name: tally.figures() for name, tally in tallies.items()}
    click.echo(
        f"{requests} requests in {format_duration(took_s)}: {requests / took_s:.0f} a second",
        err=True,
    )
    full = _overloaded(workload, ended)
    if full:
        click.echo(
            f"{', '.join(full)}: more is asked for than can be served, so queues grow for as long "
            "as requests come, and latencies tell of the length of this run; lower the rates, or "
            "see 'cotenant capacity' for how much fits",
            err=True,
        )
    if as_json:
        document = _document(workload.policy, seed, ended, figures)
        more = {"overloaded": list(full), "took_s": took_s}
        click.echo(json.dumps(document | more, indent=2))
        return
    table = _table(workload, ended, figures)
    table.title = f"{workload.policy}: {ended.requests} requests in {format_duration(ended.span_s)}"
    table_console().print(table)


def _policy(name: str) -> Policy:
    policy = policy_by_name(name)
    if policy.by_kernel:
        others = ", ".join(one for one, make in POLICIES.items() if not make().by_kernel)
        raise WorkloadError(
            f"policy {name!r} decides kernel by kernel, and a simulation knows no kernels; "
            f"choose one of {others}"
        )
    return policy


def _laws(services: Sequence[str], workload: Workload) -> Mapping[str, ServiceLaw]:
    laws = dict(map(_law, services))
    unknown = sorted(set(laws) - {task.name for task in workload.tasks})
    if unknown:
        raise WorkloadError(
            f"--service names task {unknown[0]!r}, which the workload lacks; there is "
            + ", ".join(repr(task.name) for task in workload.tasks)
        )
    return laws


def _law(text: str) -> tuple[str, ServiceLaw]:
    name, _, law = text.partition("=")
    time, *options = law.split(",")
    try:
        mean_s = parse_duration(time)
        cv = 0.0
        for option in options:
            key, _, value = option.partition("=")
            if key.strip() != "cv":
                raise ValueError(f"unknown option {key!r}; there is 'cv'")
            cv = float(value)
    except ValueError as error:
        raise WorkloadError(f"--service {text!r}: {error}; write NAME=40ms,cv=0.1") from error
    return name, gamma_law(mean_s, cv)


def _components(
    workload: Workload, cores: int | None, capability: Capability
) -> tuple[Component, ...]:
    if cores is not None and workload.components:
        raise WorkloadError("the workload names its components; leave --cores away")
    sets = {one.name: one.cores for one in workload.components} or {
        "cpu": allowed_cores() if cores is None else tuple(range(cores))
    }
    return tuple(Component(name, "null", own, capability) for name, own in sets.items())


def _watched(
    scene: Scene, requests: int, rng: np.random.Generator, tallies: Mapping[str, Tally]
) -> Simulated:
    """Simulate, with a bar on standard error that says how long it still takes."""
    with progress_bar(Console(stderr=True), counted=True, passing=True) as progress:
        bar = progress.add_task("simulating", total=requests)
        return run_simulation(
            scene,
            requests,
            rng,
            lambda record: tallies[record.task].add(record),
            warmup=requests // 10,
            progress=lambda arrived: progress.update(bar, completed=arrived),
        )


def _overloaded(workload: Workload, ended: Simulated) -> tuple[str, ...]:
    """Components that never rest though no closed loop keeps them busy."""
    default = workload.components[0].name if workload.components else "cpu"
    busy: dict[str, float] = {}
    looped = set()
    for task in workload.tasks:
        name = task.component or default
        busy[name] = busy.get(name, 0.0) + ended.utilization[task.name]
        if isinstance(task.arrivals, ClosedLoop):
            looped.add(name)
    return tuple(name for name, share in busy.items() if share >= _FULL and name not in looped)


def _document(
    policy: str, seed: int, ended: Simulated, figures: Mapping[str, Figures]
) -> dict[str, object]:
    return {
        "policy": policy,
        "seed": seed,
        "requests": ended.requests,
        "span_s": ended.span_s,
        "tasks": {
            name: {**one._asdict(), "utilization": ended.utilization[name]}
            for name, one in figures.items()
        },
    }


def _table(workload: Workload, ended: Simulated, figures: Mapping[str, Figures]) -> Table:
    table = Table(title_justify="left")
    table.add_column("task")
    table.add_column("criticality")
    for column in ("requests", "mean", "p50", "p95", "p99", "utilization", "in time", "dropped"):
        table.add_column(column, justify="right")
    for task in workload.tasks:
        one = figures[task.name]
        table.add_row(
            task.name,
            task.criticality,
            str(one.requests),
            *(
                "-" if value_s is None else format_duration(value_s)
                for value_s in (one.mean_s, one.p50_s, one.p95_s, one.p99_s)
            ),
            f"{ended.utilization[task.name]:.1%}",
            "-" if one.attainment is None else f"{one.attainment:.2%}",
            str(one.dropped),
        )
    return table
