"""What `predict`, `capacity` and `whatif` share: options go in, a predictor and tables come out."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from cotenant.cli.tables import table_console
from cotenant.core.units import format_duration
from cotenant.core.workload import Workload
from cotenant.prediction.figures import Figures, Prediction
from cotenant.prediction.predict import predict
from cotenant.prediction.virtual import VirtualClock
from cotenant.profiling.file import load_profile, origin
from cotenant.profiling.subject import subject_of

UNFIT = 3
"""Exit status when something does not fit."""

_FILE = click.Path(path_type=Path, dir_okay=False)

workload_argument = click.argument("path", metavar="WORKLOAD", type=_FILE)
profile_option = click.option(
    "--profile", "profile_path", type=_FILE, required=True, help="From 'cotenant profile'."
)
any_machine_option = click.option(
    "--any-machine", is_flag=True, help="Take a profile of another machine or version."
)
policy_option = click.option("--policy", help="Instead of the workload's own.")
json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")


class By(StrEnum):
    """What answers."""

    AUTO = "auto"
    """Closed forms where they hold, else the virtual clock."""
    FORMULA = "formula"
    VIRTUAL_CLOCK = "virtual-clock"


by_option = click.option(
    "--by",
    type=click.Choice([one.value for one in By]),
    default=By.AUTO.value,
    show_default=True,
    help="Closed forms, the coordinator on a virtual clock, or what suits the mix.",
)


def predictor(
    profile_path: Path, any_machine: bool, by: str = By.AUTO
) -> Callable[[Workload], Prediction]:
    """Predictions from a profile file, which is read and checked once."""
    profile = load_profile(profile_path, None if any_machine else origin())
    simulate = None if by == By.FORMULA else VirtualClock()
    return lambda workload: predict(
        workload, profile, subject_of, simulate=simulate, always=by == By.VIRTUAL_CLOCK
    )


def under(workload: Workload, policy: str | None) -> Workload:
    """The workload under another policy, where one is named."""
    return workload if policy is None else workload.model_copy(update={"policy": policy})


def as_plain(prediction: Prediction) -> dict[str, Any]:
    """For JSON."""
    return {
        "fits": prediction.fits,
        "tasks": [one._asdict() for one in prediction.tasks],
        "notes": list(prediction.notes),
    }


def show(prediction: Prediction) -> None:
    """Print the table, the culprit of an overload, and what was not measured."""
    console = table_console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("task", no_wrap=True)
    for title in ("mean", "p50", "p95", "p99", "util", "rate", "in SLO", "dropped"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("binding", "method", ""):
        table.add_column(title)
    for one in prediction.tasks:
        table.add_row(*_row(one))
    console.print(table)
    for culprit in dict.fromkeys(one.culprit for one in prediction.tasks if one.culprit):
        console.print(
            f"[red]unstable[/]: with {culprit!r} more work arrives than can be done; "
            "lower its rate, or run it elsewhere"
        )
    for note in prediction.notes:
        console.print(f"note: {note}")


def time(value_s: float | None) -> str:
    """A duration, or a dash where there is none."""
    return "-" if value_s is None else format_duration(value_s)


def _row(one: Figures) -> tuple[str, ...]:
    return (
        one.task,
        *(time(value_s) for value_s in (one.mean_s, one.p50_s, one.p95_s, one.p99_s)),
        f"{one.utilization:.2f}",
        f"{one.throughput_rps:.3g}/s",
        "-" if one.attainment is None else f"{one.attainment:.4f}",
        f"{one.dropped:.2%}",
        f"{one.binding} ({one.used:.0%})",
        one.method,
        "[green]fits[/]" if one.fits else "[red]does not fit[/]",
    )
