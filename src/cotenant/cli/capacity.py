"""`cotenant capacity`: a workload and a profile come in, the largest rate that fits goes out."""

import json
from pathlib import Path

import click
import numpy as np

from cotenant.cli import forecast
from cotenant.pipeline import load
from cotenant.prediction.capacity import capacity as largest
from cotenant.prediction.change import with_rates
from cotenant.prediction.picture import draw

_POINTS = 24


@click.command()
@forecast.workload_argument
@forecast.profile_option
@click.option("--task", help="Multiply this task's rate only.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the trade-off curve as a PNG file.",
)
@forecast.any_machine_option
@forecast.by_option
@forecast.policy_option
@forecast.json_option
@click.pass_context
def capacity(
    context: click.Context,
    /,
    *,
    path: Path,
    profile_path: Path,
    task: str | None,
    picture: Path | None,
    any_machine: bool,
    by: str,
    policy: str | None,
    as_json: bool,
) -> None:
    """Find how many times the rates may grow before something no longer fits.

    Ends with status 0 if the workload fits as it is, and 3 if not.
    """
    workload = forecast.under(load(path), policy)
    predicted = forecast.predictor(profile_path, any_machine, by)
    found = largest(lambda factor: predicted(with_rates(workload, factor, task)))
    if picture is not None:
        limit = found.factor or 1.0
        factors = np.append(np.linspace(0.05, 0.99, _POINTS), (1.0, 1.15)) * limit
        curve = [
            (float(factor), predicted(with_rates(workload, float(factor), task)))
            for factor in factors
        ]
        draw(curve, found.factor, picture)
    if as_json:
        click.echo(json.dumps({**found._asdict(), "task": task}, indent=2))
    else:
        what = "the rates" if task is None else f"the rate of {task!r}"
        click.echo(f"{what} may be multiplied by {found.factor:.3g}")
        click.echo(f"beyond it breaks: {found.binding or 'nothing'}")
    if found.factor < 1.0:
        context.exit(forecast.UNFIT)
