"""`cotenant whatif`: a workload and edits come in, the difference they make goes out."""

import json
from pathlib import Path

import click
from rich.table import Table

from cotenant.cli import forecast
from cotenant.cli.tables import table_console
from cotenant.pipeline import load
from cotenant.prediction.change import with_field, with_tasks, without
from cotenant.prediction.figures import Figures, Prediction

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@forecast.workload_argument
@forecast.profile_option
@click.option("--add", "added", type=_FILE, multiple=True, help="Tasks of this workload file.")
@click.option("--remove", "removed", multiple=True, metavar="TASK", help="Leave a task out.")
@click.option(
    "--set", "changes", multiple=True, metavar="TASK.field=value", help="Change a task's field."
)
@forecast.any_machine_option
@forecast.by_option
@forecast.policy_option
@forecast.json_option
@click.pass_context
def whatif(
    context: click.Context,
    /,
    *,
    path: Path,
    profile_path: Path,
    added: tuple[Path, ...],
    removed: tuple[str, ...],
    changes: tuple[str, ...],
    any_machine: bool,
    by: str,
    policy: str | None,
    as_json: bool,
) -> None:
    """Show what adding, removing or changing tasks would do to all of them.

    Ends with status 0 if the changed workload fits, and 3 if not.
    """
    before = changed = forecast.under(load(path), policy)
    for file in added:
        changed = with_tasks(changed, load(file).tasks)
    for change in changes:
        changed = with_field(changed, change)
    for task in removed:
        changed = without(changed, task)
    predicted = forecast.predictor(profile_path, any_machine, by)
    then, now = predicted(before), predicted(changed)
    if as_json:
        both = {"before": forecast.as_plain(then), "after": forecast.as_plain(now)}
        click.echo(json.dumps(both, indent=2))
    else:
        _show(then, now)
    if not now.fits:
        context.exit(forecast.UNFIT)


def _show(then: Prediction, now: Prediction) -> None:
    before = {one.task: one for one in then.tasks}
    after = {one.task: one for one in now.tasks}
    table = Table("task", "mean", "p99", "rate", "verdict", box=None, pad_edge=False)
    for name in before | after:
        table.add_row(name, *_differences(before.get(name), after.get(name)))
    table_console().print(table)


def _differences(before: Figures | None, after: Figures | None) -> tuple[str, ...]:
    def cells(one: Figures | None) -> tuple[str, ...]:
        if one is None:
            return ("-",) * 4
        verdict = "fits" if one.fits else "does not fit"
        rate = f"{one.throughput_rps:.3g}/s"
        return forecast.time(one.mean_s), forecast.time(one.p99_s), rate, verdict

    return tuple(
        was if was == is_now else f"{was} -> {is_now}"
        for was, is_now in zip(cells(before), cells(after), strict=True)
    )
