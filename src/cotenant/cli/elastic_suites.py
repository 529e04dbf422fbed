"""`cotenant bench mdtb` and `disb`: options come in, a folder of records and reports comes out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console

from cotenant.bench.bundles import found_bundle, made_bundle, models_of, require_compiler
from cotenant.bench.cores import confined, shared_out
from cotenant.bench.load import LoadGenerator
from cotenant.bench.mixed import Settings
from cotenant.bench.rates import UTILIZATION
from cotenant.bench.scenarios import Scenario
from cotenant.bench.servers import sigterm_interrupts
from cotenant.bench.suite_report import write_suite_report
from cotenant.bench.suite_run import (
    EPSILONS,
    Place,
    Plan,
    Skipped,
    choose_place,
    placed,
    planned,
    policies_on,
    suite_header_of,
)
from cotenant.bench.suites import SUITES, Suite
from cotenant.cli.measuring import measure, print_bars
from cotenant.cli.options import cores_option
from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console
from cotenant.core.errors import CotenantError
from cotenant.policy import policy_by_name


class _RateScale(click.ParamType[float | None]):
    name = "auto|FLOAT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        if value == "auto":
            return None
        try:
            factor = float(str(value))
        except ValueError:
            factor = 0.0
        if not 0.0 < factor <= 1000.0:
            self.fail(f"{value!r} is no factor; write 'auto' or a number like 0.1", param, ctx)
        return factor


def _suite_command(suite: Suite) -> click.Command:
    options: tuple[Callable[[Callable[..., None]], Callable[..., None]], ...] = (
        click.option("--out", type=_OUT, required=True, help="Folder for records and reports."),
        click.option("--component", type=click.Choice(["cuda", "opencl", "cpu"]), help=_COMPONENT),
        click.option("--rounds", type=click.IntRange(1), help="Rounds of interleaved phases (6)."),
        click.option("--seconds", type=click.FloatRange(1.0), help="Seconds a phase counts (8)."),
        click.option("--workload", "letters", multiple=True, help="Only these: A, B, ..."),
        click.option("--policy", "policies", multiple=True, help="Only these policies."),
        click.option("--epsilon", "epsilons", multiple=True, type=click.FloatRange(0.0, 1.0),
                     help="Of the own policy, for the curve; may be repeated (0, 0.2)."),
        click.option("--rate-scale", type=_RateScale(), help=_RATES),
        click.option("--bundles", type=_FOLDER, help="Folder of bundles, NAME for zoo:NAME."),
        click.option("--seed", type=click.IntRange(0), default=1, show_default=True),
        cores_option,
        click.option("--quick", is_flag=True, help="One short round: a look, no measurement."),
        click.option("--strict", is_flag=True, help="Exit with 1 when a bar is missed."),
    )  # fmt: skip

    @click.pass_context
    def run(
        context: click.Context,
        /,
        *,
        out: Path,
        component: str | None,
        rounds: int | None,
        seconds: float | None,
        letters: tuple[str, ...],
        policies: tuple[str, ...],
        epsilons: tuple[float, ...],
        rate_scale: float | None,
        bundles: Path | None,
        seed: int,
        asked_cores: tuple[int, ...],
        quick: bool,
        strict: bool,
    ) -> None:
        settings = Settings(
            rounds=rounds or (1 if quick else 6),
            seconds_s=seconds or (3.0 if quick else 8.0),
            warm_up_s=0.5 if quick else 2.0,
            seed=seed,
        )
        console = table_console()
        try:
            cores = shared_out(asked_cores)
            with sigterm_interrupts(), confined(cores.servers):
                place = choose_place(component)
                chosen = _policies(place, policies, epsilons)
                scenarios = tuple(
                    scenario._replace(policies=chosen) for scenario in _workloads(suite, letters)
                )
                found, reasons = _bundles(scenarios, place, bundles, console)
                skipped = _skipped(scenarios, reasons)
                names = {one.name for one in skipped}
                ready = [placed(one, place, found) for one in scenarios if one.name not in names]
                with LoadGenerator(cores.generator) as generator:
                    out.mkdir(parents=True, exist_ok=True)
                    plans, failed = _plans(
                        ready,
                        rate_scale,
                        generator,
                        folder=out,
                        settings=settings,
                        memory_bytes=place.memory_bytes,
                        console=console,
                    )
                    skipped = (*skipped, *failed)
                    for one in skipped:
                        console.print(f"skipped {one.name}: {one.reason}", markup=False)
                    header = suite_header_of(
                        suite,
                        place,
                        plans,
                        skipped,
                        settings=settings,
                        standing=generator.standing,
                        cores=cores,
                    )
                    finished = measure(
                        {plan.scenario.name: (plan.scenario, plan.together) for plan in plans},
                        settings,
                        header,
                        generator,
                        out=out,
                        console=console,
                    )
            bars = write_suite_report(out)
        except CotenantError as error:
            raise click.ClickException(str(error)) from error
        print_bars(bars, out)
        if not finished:
            context.exit(130)
        if strict and (skipped or not all(bar.met for bar in bars)):
            context.exit(1)

    command: Callable[..., None] = run
    for option in reversed(options):
        command = option(command)
    about = (
        f"{suite.title}, under every policy that the component can run.\n\n"
        "Models are compiled first where the component needs bundles. Rates of critical tasks "
        f"are scaled so that critical work alone takes at most {UTILIZATION:g} of the device."
    )
    return click.command(suite.name, help=about)(command)


def _workloads(suite: Suite, letters: Iterable[str]) -> tuple[Scenario, ...]:
    by_letter = {one.name.rpartition("-")[2].upper(): one for one in suite.scenarios}
    asked = tuple(letter.upper() for letter in letters)
    unknown = [letter for letter in asked if letter not in by_letter]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(by_letter)}")
    return tuple(one for letter, one in by_letter.items() if not asked or letter in asked)


def _policies(place: Place, asked: tuple[str, ...], epsilons: tuple[float, ...]) -> tuple[str, ...]:
    offered = policies_on(place, epsilons or EPSILONS)
    if not asked:
        return offered
    for name in asked:
        if policy_by_name(name).by_kernel and place.kind == "cpu":
            raise click.BadParameter(
                f"{name!r} needs an elastic component; on the processor there is "
                + ", ".join(offered)
            )
    return asked


def _bundles(
    scenarios: Sequence[Scenario], place: Place, folder: Path | None, console: Console
) -> tuple[Mapping[str, Path], Mapping[str, str]]:
    """Bundles by model, and the reason for each model that has none."""
    found: dict[str, Path] = {}
    reasons: dict[str, str] = {}
    if place.target is None:
        return found, reasons
    if folder is None:
        require_compiler()
    models = models_of(scenarios)
    with progress_bar(console) as progress:
        bar = progress.add_task("compiling", total=len(models))
        for model in models:

            def tell(what: str, done: int, total: int, model: str = model) -> None:
                progress.update(bar, description=f"{model}: {what} {done}/{total}")

            try:
                if folder is None:
                    found[model] = made_bundle(model, place.target, tell)
                else:
                    found[model] = found_bundle(model, folder, place.target)
            except CotenantError as error:
                reasons[model] = str(error)
            progress.advance(bar)
    return found, reasons


def _skipped(scenarios: Iterable[Scenario], reasons: Mapping[str, str]) -> tuple[Skipped, ...]:
    skipped = []
    for scenario in scenarios:
        for model in models_of([scenario]):
            if model in reasons:
                skipped.append(Skipped(scenario.name, f"{model}: {reasons[model]}"))
                break
    return tuple(skipped)


def _plans(
    scenarios: Sequence[Scenario],
    rate_scale: float | None,
    generator: LoadGenerator,
    *,
    folder: Path,
    settings: Settings,
    memory_bytes: int | None,
    console: Console,
) -> tuple[list[Plan], list[Skipped]]:
    """What is about to be measured, and what cannot be: a server that does not come up, say."""
    plans, failed = [], []
    with progress_bar(console) as progress:
        bar = progress.add_task("rates", total=len(scenarios))
        for scenario in scenarios:
            progress.update(bar, description=f"{scenario.name}: latency alone")
            try:
                plan = planned(
                    scenario,
                    rate_scale,
                    generator,
                    folder=folder,
                    seed=settings.seed,
                    seconds_s=settings.seconds_s,
                    memory_bytes=memory_bytes,
                )
            except CotenantError as error:
                failed.append(Skipped(scenario.name, str(error)))
            else:
                plans.append(plan)
            progress.advance(bar)
    return plans, failed


_OUT = click.Path(path_type=Path, file_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_COMPONENT = "Where to run; default: the first of cuda, opencl and cpu that is there."
_RATES = "Factor on the published rates (auto: from the latency measured alone)."

mdtb = _suite_command(SUITES["mdtb"])
disb = _suite_command(SUITES["disb"])
