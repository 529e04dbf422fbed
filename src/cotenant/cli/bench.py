"""`cotenant bench`: a suite's options come in, a folder of records and reports comes out."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table

from cotenant.bench.cores import confined, shared_out
from cotenant.bench.header import mixed_header
from cotenant.bench.kernel_report import write_report as write_kernel_report
from cotenant.bench.load import LoadGenerator
from cotenant.bench.mixed import Settings
from cotenant.bench.overhead import OverheadBar
from cotenant.bench.overhead import measure as measure_overhead
from cotenant.bench.overhead import write_report as write_overhead_report
from cotenant.bench.prediction_report import write_prediction_report
from cotenant.bench.records import suite_of
from cotenant.bench.report import RECORDS, REPORT, write_report
from cotenant.bench.scenarios import BUILT_IN, POLICIES, Scenario, find_scenario
from cotenant.bench.servers import sigterm_interrupts
from cotenant.bench.speed_report import write_speed_report
from cotenant.bench.suite_report import write_suite_report
from cotenant.bench.suites import SUITES
from cotenant.cli.bench_cuda import cuda
from cotenant.cli.bench_kernels import kernels
from cotenant.cli.bench_speed import speed
from cotenant.cli.elastic_suites import disb, mdtb
from cotenant.cli.measuring import measure, print_bars, verdict
from cotenant.cli.options import cores_option
from cotenant.cli.pace import pace
from cotenant.cli.prediction import prediction, reforecast
from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console
from cotenant.cli.theory import theory
from cotenant.core.errors import CotenantError
from cotenant.core.units import format_bytes, format_duration

_OUT = click.Path(path_type=Path, file_okay=False)


@click.group()
def bench() -> None:
    """Measure: several models on one machine, what the server costs, how good predictions are."""


bench.add_command(prediction)
bench.add_command(reforecast)
bench.add_command(theory)
bench.add_command(pace)


bench.add_command(mdtb)
bench.add_command(disb)


bench.add_command(kernels)
bench.add_command(speed)
bench.add_command(cuda)


@bench.command()
@click.option("--out", type=_OUT, required=True, help="Folder for records and reports.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds of interleaved phases (3).")
@click.option("--seconds", type=click.FloatRange(1.0), help="Seconds that a phase counts (12).")
@click.option("--scenario", "names", multiple=True, help="Built-in name or workload file.")
@click.option("--policy", "policies", multiple=True, help="Only these policies.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@cores_option
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
    asked_cores: tuple[int, ...],
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
    console = table_console()
    try:
        cores = shared_out(asked_cores)
        scenarios = tuple(_chosen(name, policies) for name in names or tuple(BUILT_IN))
        with (
            sigterm_interrupts(),
            confined(cores.servers),
            LoadGenerator(cores.generator) as generator,
        ):
            header = mixed_header(scenarios, settings, generator.standing, cores)
            ready = {scenario.name: (scenario, True) for scenario in scenarios}
            finished = measure(ready, settings, header, generator, out=out, console=console)
        bars = write_report(out)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    print_bars(bars, out)
    if not finished:
        context.exit(130)
    if strict and not all(bar.met for bar in bars):
        context.exit(1)


@bench.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def report(folder: Path) -> None:
    """Make the reports of FOLDER again, from its records alone."""
    try:
        suite = suite_of(folder / RECORDS)
        if suite == "overhead":
            _print_overhead(write_overhead_report(folder), folder)
        elif suite == "prediction":
            print_bars(write_prediction_report(folder), folder)
        elif suite in SUITES:
            print_bars(write_suite_report(folder), folder)
        elif suite == "kernels":
            print_bars(write_kernel_report(folder), folder)
        elif suite == "speed":
            print_bars(write_speed_report(folder), folder)
        else:
            print_bars(write_report(folder), folder)
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
    console = table_console()
    try:
        with sigterm_interrupts(), progress_bar(console) as progress:
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
    _print_overhead(bars, out)
    if strict and not all(one.met for one in bars):
        context.exit(1)


def _print_overhead(bars: Sequence[OverheadBar], out: Path) -> None:
    console = table_console()
    table = Table("protocol", "input", "overhead p50", "bar", "", title="Server overhead")
    for one in bars:
        table.add_row(
            one.protocol,
            format_bytes(one.payload_bytes),
            format_duration(one.value_s),
            f"<= {format_duration(one.limit_s)}",
            verdict(one.met),
        )
    console.print(table)
    console.print(f"Report: {out / REPORT}")


def _chosen(name: str, policies: tuple[str, ...]) -> Scenario:
    scenario = find_scenario(name)
    unknown = [policy for policy in policies if policy not in POLICIES]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(POLICIES)}")
    return scenario._replace(policies=policies) if policies else scenario
