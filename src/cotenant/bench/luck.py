"""A forecast and short windows go in; how wrong it would be found if it were right comes out.

A window begins with an idle server and draws arrivals of its own, so the figures of its few
requests are not those of a long run, whatever the machine does. The forecast's own model is
therefore measured as the server will be, on the virtual clock: as many windows, taken together,
and that many times over.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from cotenant.bench.accuracy import FIGURES, Measured, measured
from cotenant.bench.anchor import SubjectOf
from cotenant.bench.predictors import OWN
from cotenant.bench.records import Forecast, Luck
from cotenant.bench.steady import WINDOWS
from cotenant.core.record import Outcome, Record
from cotenant.core.workload import Workload
from cotenant.prediction.predict import mix_under
from cotenant.prediction.tenancy import Mix
from cotenant.prediction.virtual import scene_of
from cotenant.profiling.profile import Profile
from cotenant.runtime.simulate import Scene, simulate

_TIMES = 12


def luck_of(
    workload: Workload,
    profile: Profile,
    subject_of: SubjectOf,
    forecasts: Sequence[Forecast],
    *,
    seconds_s: float,
    warm_up_s: float,
) -> tuple[Luck, ...]:
    """The mean relative error of each task's own forecast over windows of its own model.

    A task whose forecast has no figures (too much work arrives), or that is asked too seldom to be
    in every window, is left out.
    """
    mix = mix_under(workload, profile, subject_of)
    scene = partial(scene_of, workload, profile, mix)
    seen = [_measured(mix, scene, number, seconds_s, warm_up_s) for number in range(_TIMES)]
    found = []
    for one in (said for said in forecasts if said.predictor == OWN):
        told = Measured(*(getattr(one, f"{figure}_s") for figure in FIGURES))
        of_task = [each[one.task] for each in seen if one.task in each]
        if None not in told and len(of_task) == _TIMES:
            errors = np.abs(np.array(told) / np.array(of_task) - 1.0).mean(axis=0)
            figures = dict(zip(FIGURES, errors.tolist(), strict=True))
            found.append(Luck(workload.name, workload.policy, one.task, **figures))
    return tuple(found)


def _measured(
    mix: Mix,
    scene: Callable[[np.random.Generator], Scene],
    number: int,
    seconds_s: float,
    warm_up_s: float,
) -> Mapping[str, Measured]:
    """What the bench would make of its windows, by task."""
    latencies_s: dict[str, list[float]] = {one.task.name: [] for one in mix.tenancies}
    horizon_s = warm_up_s + seconds_s
    requests = int(horizon_s * sum(one.rate_rps or 0.0 for one in mix.tenancies))

    def see(record: Record) -> None:
        if record.outcome is Outcome.OK and warm_up_s <= record.arrival_s < horizon_s:
            latencies_s[record.task].append(record.end_s - record.arrival_s)

    for rng in np.random.default_rng(number).spawn(WINDOWS):
        arrivals, services = rng.spawn(2)
        simulate(scene(services), requests, arrivals, see)
    around_s = {one.task.name: one.around_s for one in mix.tenancies}
    return {
        task: measured(np.array(those_s) + around_s[task])
        for task, those_s in latencies_s.items()
        if those_s
    }
