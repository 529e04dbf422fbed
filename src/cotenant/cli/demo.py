"""`cotenant demo`: seconds come in, a live table and a side-by-side verdict come out."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cotenant.bench.demo import Memo, demo_scenario, verdict
from cotenant.bench.figures import samples_by_key
from cotenant.bench.live import LiveTable
from cotenant.bench.load import LoadGenerator, Seen
from cotenant.bench.mixed import ScenarioRun, Setting, Visit
from cotenant.bench.records import ALONE, Records
from cotenant.bench.scenarios import Scenario
from cotenant.bench.servers import sigterm_interrupts
from cotenant.bench.summary import summarise
from cotenant.cli.tables import table_console
from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import CotenantError
from cotenant.core.task import Criticality


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(5.0, 600.0),
    default=20.0,
    show_default=True,
    help="How long to drive load, all phases together.",
)
@click.pass_context
def demo(context: click.Context, /, *, seconds: float) -> None:
    """See critical latency stay flat: twenty seconds on real models."""
    console = table_console()
    try:
        records = _drive(seconds, console)
    except KeyboardInterrupt:
        console.print("stopped; servers have been ended")
        context.exit(130)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    summary = summarise(records)
    console.print(_side_by_side(records, summary))
    console.print(verdict(summary))


def _drive(seconds: float, console: Console) -> Records:
    scenario, settings = demo_scenario(seconds)
    live_table = LiveTable(scenario.workload.tasks, MonotonicClock())
    memo = Memo()
    for task in scenario.workload.tasks:
        console.print(f"  {task.criticality:<11} {task.name:<9} {task.model}")
    console.print("starting one server per policy: " + ", ".join(scenario.policies))
    with (
        sigterm_interrupts(),
        tempfile.TemporaryDirectory(prefix="cotenant-demo-") as folder,
        LoadGenerator() as generator,
        _screen(live_table, console) as screen,
    ):

        def watch(seen: Seen) -> None:
            if live_table.add(seen) and screen is not None:
                screen.update(live_table.table(), refresh=True)

        @contextlib.contextmanager
        def announce(_: Scenario, round_number: int, visit: Visit) -> Iterator[None]:
            live_table.begin(f"round {round_number + 1} of {settings.rounds}, {visit.name}")
            yield
            if screen is None:
                console.print(live_table.line(), soft_wrap=True)

        setting = Setting(settings, generator, memo, Path(folder), announce, watch)
        ScenarioRun(scenario, setting).run()
        return memo.records(scenario, settings, generator.standing)


@contextlib.contextmanager
def _screen(live_table: LiveTable, console: Console) -> Iterator[Live | None]:
    """A table that redraws itself on a terminal; nothing where lines are all there is."""
    if not console.is_terminal:
        yield None
        return
    with Live(live_table.table(), console=console, auto_refresh=False, transient=True) as screen:
        yield screen


def _side_by_side(records: Records, summary: Mapping[str, Any]) -> Table:
    samples = samples_by_key(records)
    (scenario,) = summary["scenarios"]
    table = Table(title="Side by side", title_justify="left")
    table.add_column("task")
    table.add_column("figure")
    for column in (ALONE, *scenario["policies"]):
        table.add_column(column, justify="right", style="bold" if column == "cotenant" else "")
    for task in records.header["scenarios"][0]["tasks"]:
        name = task["name"]
        columns = [scenario["policies"][policy]["tasks"][name] for policy in scenario["policies"]]
        alone = samples[scenario["name"], ALONE, name]
        if task["criticality"] == Criticality.CRITICAL:
            pooled_s = np.concatenate(alone.latencies_s() or [np.array([np.nan])])
            for figure, quantile in (("p50", 0.50), ("p99", 0.99)):
                first = float(np.quantile(pooled_s, quantile))
                cells = [_milliseconds(one[f"{figure}_s"]) for one in columns]
                table.add_row(name, figure, _milliseconds(first), *cells)
            shares = (alone.attainment, *(one["attainment"] for one in columns))
            table.add_row("", "in time", *map(_share, shares), end_section=True)
        else:
            rates = (alone.throughput_rps, *(one["throughput_rps"] for one in columns))
            table.add_row(name, "answers/s", *(f"{rate:.1f}" for rate in rates))
    return table


def _milliseconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s * 1e3:.1f} ms"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
