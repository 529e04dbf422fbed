"""`cotenant predict`: a workload and a profile come in, each task's latency and verdict go out."""

import json
from pathlib import Path

import click

from cotenant.cli import forecast
from cotenant.core.workload import load_workload


@click.command()
@forecast.workload_argument
@forecast.profile_option
@forecast.any_machine_option
@forecast.by_option
@forecast.policy_option
@forecast.json_option
@click.pass_context
def predict(
    context: click.Context,
    /,
    *,
    path: Path,
    profile_path: Path,
    any_machine: bool,
    by: str,
    policy: str | None,
    as_json: bool,
) -> None:
    """Say what latency each task will have, and whether all of them fit.

    Closed forms answer where they hold, the coordinator on a virtual clock where they do not; the
    table says which. Ends with status 0 if all fit, and 3 if not. Arrivals come from the workload
    file.
    """
    predicted = forecast.predictor(profile_path, any_machine, by)
    prediction = predicted(forecast.under(load_workload(path), policy))
    if as_json:
        click.echo(json.dumps(forecast.as_plain(prediction), indent=2))
    else:
        forecast.show(prediction)
    if not prediction.fits:
        context.exit(forecast.UNFIT)
