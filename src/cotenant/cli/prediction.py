"""`cotenant bench prediction`: options come in, predictions are put to the test on real servers."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.progress import Progress

from cotenant.bench.again import forecast_again, profile_of
from cotenant.bench.cores import Cores, confined, shared_out
from cotenant.bench.header import suite_header
from cotenant.bench.mixes import MODELS, MODELS_PER_MIX, SEEDS, draw_mixes, seeds_of
from cotenant.bench.prediction import (
    PredictionRun,
    Step,
    Windows,
    described,
    total_seconds_s,
)
from cotenant.bench.prediction_report import write_prediction_report
from cotenant.bench.records import RecordWriter, read_records
from cotenant.bench.report import RECORDS
from cotenant.bench.scenarios import POLICIES
from cotenant.bench.servers import sigterm_interrupts
from cotenant.bench.zoo_profile import EFFORT, alone_times, completed_profile, measured_profile
from cotenant.cli.measuring import print_bars
from cotenant.cli.options import cores_option
from cotenant.cli.progress import progress_bar
from cotenant.cli.tables import table_console
from cotenant.core.errors import CotenantError
from cotenant.graph.zoo import ZOO
from cotenant.profiling.file import load_profile, origin, save_profile
from cotenant.profiling.measure import Progress as Seen
from cotenant.profiling.profile import Profile

_OUT = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--out", type=_OUT, required=True, help="Folder for records and reports.")
@click.option("--mixes", type=click.IntRange(1), default=len(SEEDS), show_default=True)
@click.option("--seed", type=click.IntRange(0), help="Draw fresh mixes; a fixed list otherwise.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.5),
    default=35.0,
    show_default=True,
    help="Length of each of a mix's three windows.",
)
@click.option("--warm-up", type=click.FloatRange(0.0), default=4.0, show_default=True)
@click.option(
    "--patience",
    type=click.FloatRange(0.0),
    default=15.0,
    show_default=True,
    help="Seconds to wait before a machine that lacks a core is looked at again.",
)
@cores_option
@click.option("--policy", "policies", multiple=True, help="One or more; 'cotenant' if absent.")
@click.option(
    "--profile", "profile_path", type=_FILE, help="Of the zoo, from an earlier run; else measured."
)
@click.option("--model", "models", multiple=True, help="Draw mixes from these models of the zoo.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a bar is missed.")
@click.pass_context
def prediction(
    context: click.Context,
    /,
    *,
    out: Path,
    mixes: int,
    seed: int | None,
    seconds: float,
    warm_up: float,
    patience: float,
    asked_cores: tuple[int, ...],
    policies: tuple[str, ...],
    profile_path: Path | None,
    models: tuple[str, ...],
    strict: bool,
) -> None:
    """Predict random mixes, then measure them, and compare.

    A profile is measured first unless one is given; then each mix is visited three times, and
    every window predicted before it is measured. Leave the machine alone meanwhile.
    """
    console = table_console()
    chosen, drawn_from = _checked(policies, POLICIES), _checked(models, tuple(ZOO)) or MODELS
    if len(drawn_from) < MODELS_PER_MIX[0]:
        raise click.BadParameter(
            f"a mix needs {MODELS_PER_MIX[0]} models; give --model again, with another one"
        )
    windows = Windows(seconds, warm_up, 0 if seed is None else seed, patience)
    try:
        cores = shared_out(asked_cores)
        out.mkdir(parents=True, exist_ok=True)
        with sigterm_interrupts(), confined(cores.servers), progress_bar(console) as progress:
            finished = _run(
                out,
                (mixes, seed),
                windows,
                cores,
                policies=chosen or ("cotenant",),
                models=drawn_from,
                profile_path=profile_path,
                progress=progress,
            )
        bars = write_prediction_report(out)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    print_bars(bars, out)
    if not finished:
        context.exit(130)
    if strict and not all(bar.met for bar in bars):
        context.exit(1)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--out", type=_OUT, required=True, help="Folder for the new records and reports.")
def reforecast(folder: Path, out: Path) -> None:
    """Forecast the mixes of FOLDER again, and compare with what was measured then.

    FOLDER is the output of 'cotenant bench prediction'. Profile, looks at the machine and
    measurements stay as they are; forecasts are those of this version.
    """
    console = table_console()
    try:
        records = read_records(folder / RECORDS)
        if records.header.get("suite") != "prediction":
            raise click.BadParameter(f"{folder} holds no records of 'cotenant bench prediction'")
        if out.resolve() == folder.resolve():
            raise click.BadParameter("--out must be another folder than the one that is read")
        # Of a run on some cores the forecasts are for so many.
        cores = shared_out(records.header.get("cores", {}).get("servers", ()))
        out.mkdir(parents=True, exist_ok=True)
        header = records.header | {"forecast_again": True}
        with (
            sigterm_interrupts(),
            confined(cores.servers),
            progress_bar(console) as progress,
            RecordWriter(out / RECORDS, header) as writer,
        ):
            bar = progress.add_task("windows", total=len(records.anchors))

            def announce(mix: str) -> None:
                progress.update(bar, advance=1, description=mix)

            writer.write(forecast_again(records, folder, announce=announce))
        bars = write_prediction_report(out)
    except CotenantError as error:
        raise click.ClickException(str(error)) from error
    print_bars(bars, out)


def _run(
    out: Path,
    asked: tuple[int, int | None],
    windows: Windows,
    cores: Cores,
    *,
    policies: Sequence[str],
    models: Sequence[str],
    profile_path: Path | None,
    progress: Progress,
) -> bool:
    """Measure the profiles, then all mixes; false if Ctrl-C came first."""
    given = None if profile_path is None else load_profile(profile_path, origin())
    profiles = {
        policy: _profile(given, policy, models, out, cores, seed=windows.seed, progress=progress)
        for policy in policies
    }
    mixes = draw_mixes(seeds_of(*asked), alone_times(profiles[policies[0]], models), models)
    header = suite_header("prediction", windows.seed) | {
        "fixed_seeds": asked[1] is None,
        "policies": list(policies),
        "seconds_s": windows.seconds_s,
        "warm_up_s": windows.warm_up_s,
        "cores": cores._asdict(),
        "mixes": list(described(mixes)),
    }
    total_s = total_seconds_s(len(mixes), len(policies), windows)
    bar = progress.add_task("mixes", total=total_s)
    past_s = 0.0

    def announce(step: Step) -> None:
        nonlocal past_s
        progress.update(bar, description=step.doing, completed=min(past_s, total_s))
        past_s += step.seconds_s  # an estimate, so it may pass the total
        _say(progress, step.doing)

    with RecordWriter(out / RECORDS, header) as writer:
        try:
            PredictionRun(
                mixes,
                policies,
                profiles,
                windows,
                sink=writer,
                folder=out,
                announce=announce,
                generator_cores=cores.generator,
            ).run()
        except KeyboardInterrupt:
            progress.console.print("stopped; the report covers the windows that had ended")
            return False
    progress.update(bar, description="done", completed=total_s)
    return True


def _profile(
    given: Profile | None,
    policy: str,
    models: Sequence[str],
    out: Path,
    cores: Cores,
    *,
    seed: int,
    progress: Progress,
) -> Profile:
    """The profile for a policy: the given one where it fits, else measured; kept in the folder."""
    known = given
    bar = progress.add_task(f"profile, {policy}", total=None)
    if known is None or known.policy != policy:

        def seen(now: Seen) -> None:
            progress.update(bar, description=now.doing, completed=now.done, total=now.total)

        _say(progress, f"measuring a profile under {policy}")
        known = measured_profile(models, policy, EFFORT, seed, seen)
        save_profile(known, profile_of(out, policy))

    def asking(task: str) -> None:
        progress.update(bar, description=f"at the front: {task}")

    _say(progress, f"profile under {policy}: time at the server's front")
    known = completed_profile(
        known, models, out, seed=seed, asking=asking, generator_cores=cores.generator
    )
    save_profile(known, profile_of(out, policy))
    progress.remove_task(bar)
    return known


def _say(progress: Progress, text: str) -> None:
    if not progress.console.is_terminal:
        progress.console.print(text, highlight=False)


def _checked(names: tuple[str, ...], known: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(known)}")
    return tuple(dict.fromkeys(names))
