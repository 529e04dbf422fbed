"""Records of an earlier prediction run go in; the same with the forecasts of today's code come out.

What was measured stays as it is, and so do the profile and the looks at the machine that the
forecasts started from: only the model is another. So a change of the predictor can be judged in
minutes, by windows that took hours.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cotenant.bench.anchor import Looks, Speed, SubjectOf, anchored
from cotenant.bench.luck import luck_of
from cotenant.bench.predictors import PREDICTORS, Predictor
from cotenant.bench.records import Anchor, Forecast, Line, Records
from cotenant.bench.servers import workload_path_of
from cotenant.bench.steady import WINDOWS
from cotenant.core.workload import Workload, load_workload
from cotenant.profiling.file import load_profile
from cotenant.profiling.profile import Profile
from cotenant.profiling.subject import subject_of as real_subject_of


class Asked(NamedTuple):
    """One window as it was forecast."""

    workload: Workload
    profile: Profile
    round: int


def profile_of(folder: Path, policy: str) -> Path:
    """Where a run keeps the profile that its forecasts start from."""
    return folder / f"profile-{policy}.json"


def forecast_again(
    records: Records,
    folder: Path,
    *,
    announce: Callable[[str], None] = lambda mix: None,
    predictors: Mapping[str, Predictor] = PREDICTORS,
    subject_of: SubjectOf = real_subject_of,
) -> Iterator[Line]:
    """All lines of the records, with new forecasts in place of the old ones.

    Args:
        folder: of that run, with its profiles and workloads.

    Raises:
        WorkloadError: a profile or workload is no longer there.
    """
    yield from records.anchors
    yield from records.failures
    yield from records.phases
    yield from records.observations
    for workload, profile, number in _asked(records, folder, subject_of):
        announce(workload.name)
        said: list[Forecast] = []
        for predict in predictors.values():
            said += [one._replace(round=number) for one in predict(workload, profile)]
        yield from said
        if number == WINDOWS - 1:
            yield from luck_of(
                workload,
                profile,
                subject_of,
                said,
                seconds_s=records.header["seconds_s"],
                warm_up_s=records.header["warm_up_s"],
            )


def _asked(records: Records, folder: Path, subject_of: SubjectOf) -> Iterator[Asked]:
    """Every window with the profile as the looks up to it have corrected it."""
    policies = records.header["policies"]
    profiles = {policy: load_profile(profile_of(folder, policy), None) for policy in policies}
    looks = {policy: Looks() for policy in policies}
    for seen in records.anchors:
        workload = load_workload(workload_path_of(folder, seen.scenario))
        workload = workload.model_copy(update={"policy": seen.policy})
        looks[seen.policy].add(workload, subject_of, _speeds(seen))
        expected = looks[seen.policy].expected(workload, subject_of)
        yield Asked(
            workload,
            anchored(profiles[seen.policy], workload, subject_of, expected),
            seen.round,
        )


def _speeds(seen: Anchor) -> Mapping[str, Speed]:
    return {
        task: Speed(*(getattr(seen, pace)[task] for pace in Speed._fields)) for task in seen.calm
    }
