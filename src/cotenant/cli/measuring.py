"""Scenarios ready to be run go in; records, a progress bar and a table of bars come out."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cotenant.bench.bars import Bar, amount
from cotenant.bench.load import LoadGenerator
from cotenant.bench.mixed import ScenarioRun, Setting, Settings, Visit, round_seconds_s
from cotenant.bench.records import RecordWriter
from cotenant.bench.report import RECORDS, REPORT
from cotenant.bench.scenarios import Scenario
from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console


def measure(
    scenarios: Mapping[str, tuple[Scenario, bool]],
    settings: Settings,
    header: dict[str, Any],
    generator: LoadGenerator,
    *,
    out: Path,
    console: Console,
) -> bool:
    """Run everything; false if Ctrl-C came first. What was seen until then is written.

    Args:
        scenarios: by name; each with whether its servers are up together.
    """
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar(console) as progress, RecordWriter(out / RECORDS, header) as writer:
        total_s = settings.rounds * sum(
            round_seconds_s(scenario, settings) for scenario, _ in scenarios.values()
        )
        bar = progress.add_task("starting servers", total=total_s)

        @contextlib.contextmanager
        def announce(scenario: Scenario, round_number: int, visit: Visit) -> Iterator[None]:
            what = f"{scenario.name}, round {round_number + 1}: {visit.name}"
            progress.update(bar, description=what)
            if not console.is_terminal:
                console.print(what)
            yield
            progress.advance(bar, settings.warm_up_s + visit.seconds_s)

        try:
            for scenario, together in scenarios.values():
                setting = Setting(settings, generator, writer, out, announce, together=together)
                ScenarioRun(scenario, setting).run()
        except KeyboardInterrupt:
            console.print("stopped; the report covers the phases that had ended")
            return False
    return True


def verdict(met: bool) -> str:
    """Whether a bar is met, in colour."""
    return "[green]pass[/]" if met else "[red]MISS[/]"


def print_bars(bars: Sequence[Bar], out: Path) -> None:
    """The bars, and where the report lies."""
    console = table_console()
    if bars:
        table = Table("scenario", "figure", "value", "bar", "", title="Bars")
        for bar in bars:
            table.add_row(
                bar.scenario,
                bar.figure,
                "not measured" if bar.value is None else amount(bar.value),
                f"{'<=' if bar.at_most else '>='} {amount(bar.limit)}",
                verdict(bar.met),
            )
        console.print(table)
    console.print(f"Report: {out / REPORT}")
