"""`cotenant bench`: a suite's options come in, a folder of records and reports comes out."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cotenant.bench.bars import Bar
from cotenant.bench.header import mixed_header
from cotenant.bench.kernel_report import write_report as write_kernel_report
from cotenant.bench.load import LoadGenerator
from cotenant.bench.mixed import ScenarioRun, Setting, Settings, Visit, round_seconds_s
from cotenant.bench.overhead import OverheadBar
from cotenant.bench.overhead import measure as measure_overhead
from cotenant.bench.overhead import write_report as write_overhead_report
from cotenant.bench.records import RecordWriter, suite_of
from cotenant.bench.report import RECORDS, REPORT, write_report
from cotenant.bench.scenarios import BUILT_IN, POLICIES, Scenario, find_scenario
from cotenant.bench.servers import sigterm_interrupts
from cotenant.cli.bench_kernels import kernels
from cotenant.core.errors import CotenantError
from cotenant.core.units import format_bytes, format_duration

_OUT = click.Path(path_type=Path, file_okay=False)


@click.group()
def bench() -> None:
    """Measure: several models on one machine, or what the server itself costs."""


bench.add_command(kernels)


@bench.command()
@click.option("--out", type=_OUT, required=True, help="Folder for records and reports.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds of interleaved phases (3).")
@click.option("--seconds", type=click.FloatRange(1.0), help="Seconds that a phase counts (12).")
@click.option("--scenario", "names", multiple=True, help="Built-in name or workload file.")
@click.option("--policy", "policies", multiple=True, help="Only these policies.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--quick", is_flag=True, help="One short round: a look, not a measurement.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a bar is missed.")
@click.pass_context
def mixed(
    context: click.Context,
    /,
    *,
    out: Path,
    rounds: int | None,
    seconds: float | None,
    names: tuple[str, ...],
    policies: tuple[str, ...],
    seed: int,
    quick: bool,
    strict: bool,
) -> None:
    """Critical and best-effort models side by side, under every policy."""
    settings = Settings(
        rounds=rounds or (1 if quick else 3),
        seconds_s=seconds or (3.0 if quick else 12.0),
        warm_up_s=0.5 if quick else 2.0,
        seed=seed,
    )
    console = Console()
    try:
        scenarios = tuple(_chosen(name, policies) for name in names or tuple(BUILT_IN))
        finished = _measure(scenarios, settings, out, console)
        bars = write_report(out)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    _print_bars(bars, out, console)
    if not finished:
        context.exit(130)
    if strict and not all(bar.met for bar in bars):
        context.exit(1)


@bench.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def report(folder: Path) -> None:
    """Make the reports of FOLDER again, from its records alone."""
    console = Console()
    try:
        suite = suite_of(folder / RECORDS)
        if suite == "overhead":
            _print_overhead(write_overhead_report(folder), folder, console)
        elif suite == "kernels":
            _print_bars(write_kernel_report(folder), folder, console)
        else:
            _print_bars(write_report(folder), folder, console)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error


@bench.command()
@click.option("--out", type=_OUT, required=True, help="Folder for records and reports.")
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True)
@click.option("--calls", type=click.IntRange(10), default=200, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--strict", is_flag=True, help="Exit with 1 when a bar is missed.")
@click.pass_context
def overhead(
    context: click.Context, /, *, out: Path, rounds: int, calls: int, seed: int, strict: bool
) -> None:
    """What the server adds to calling ONNX Runtime in-process."""
    console = Console()
    try:
        with sigterm_interrupts(), _progress(console) as progress:
            bar = progress.add_task("round trips", total=rounds)
            measure_overhead(
                out,
                rounds=rounds,
                calls=calls,
                seed=seed,
                ended=lambda: progress.advance(bar),
            )
        bars = write_overhead_report(out)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    _print_overhead(bars, out, console)
    if strict and not all(one.met for one in bars):
        context.exit(1)


def _print_overhead(bars: Sequence[OverheadBar], out: Path, console: Console) -> None:
    table = Table("protocol", "input", "overhead p50", "bar", "", title="Server overhead")
    for one in bars:
        table.add_row(
            one.protocol,
            format_bytes(one.payload_bytes),
            format_duration(one.value_s),
            f"<= {format_duration(one.limit_s)}",
            _verdict(one.met),
        )
    console.print(table)
    console.print(f"Report: {out / REPORT}")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        refresh_per_second=1,  # drawing must not take time from what is measured
    )


def _verdict(met: bool) -> str:
    return "[green]pass[/]" if met else "[red]MISS[/]"


def _chosen(name: str, policies: tuple[str, ...]) -> Scenario:
    scenario = find_scenario(name)
    unknown = [policy for policy in policies if policy not in POLICIES]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(POLICIES)}")
    return scenario._replace(policies=policies) if policies else scenario


def _measure(
    scenarios: Sequence[Scenario], settings: Settings, out: Path, console: Console
) -> bool:
    """Run everything; false if Ctrl-C came first. What was seen until then is written."""
    out.mkdir(parents=True, exist_ok=True)
    with sigterm_interrupts(), LoadGenerator() as generator, _progress(console) as progress:
        header = mixed_header(tuple(scenarios), settings, generator.standing)
        total_s = settings.rounds * sum(round_seconds_s(one, settings) for one in scenarios)
        bar = progress.add_task("starting servers", total=total_s)

        @contextlib.contextmanager
        def announce(scenario: Scenario, round_number: int, visit: Visit) -> Iterator[None]:
            progress.update(
                bar, description=f"{scenario.name}, round {round_number + 1}: {visit.name}"
            )
            if not console.is_terminal:
                console.print(f"{scenario.name}, round {round_number + 1}: {visit.name}")
            yield
            progress.advance(bar, settings.warm_up_s + visit.seconds_s)

        with RecordWriter(out / RECORDS, header) as writer:
            try:
                for scenario in scenarios:
                    ScenarioRun(scenario, Setting(settings, generator, writer, out, announce)).run()
            except KeyboardInterrupt:
                console.print("stopped; the report covers the phases that had ended")
                return False
    return True


def _print_bars(bars: Sequence[Bar], out: Path, console: Console) -> None:
    if bars:
        table = Table("scenario", "figure", "value", "bar", "", title="Bars")
        for bar in bars:
            table.add_row(
                bar.scenario,
                bar.figure,
                "not measured" if bar.value is None else f"{bar.value:.4g}",
                f"{'<=' if bar.at_most else '>='} {bar.limit:.4g}",
                _verdict(bar.met),
            )
        console.print(table)
    console.print(f"Report: {out / REPORT}")
