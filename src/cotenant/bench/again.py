"""Records of an earlier prediction run go in; the same with the forecasts of today's code come out.

What was measured stays as it is, and so do the profile and the looks at the machine that the
forecasts started from: only the model is another. So a change of the predictor can be judged in
minutes, by windows that took hours.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cotenant.bench.anchor import Looks, Speed, SubjectOf, anchored
from cotenant.bench.luck import forecasts_with_luck
from cotenant.bench.predictors import PREDICTORS, Predictor
from cotenant.bench.records import Anchor, Line, Records
from cotenant.bench.servers import workload_path_of
from cotenant.core.errors import WorkloadError
from cotenant.core.workload import Workload, load_workload
from cotenant.profiling.file import load_profile
from cotenant.profiling.profile import Profile
from cotenant.profiling.subject import subject_of as real_subject_of


class Asked(NamedTuple):
    """One mix as it was forecast."""

    workload: Workload
    profile: Profile


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
        WorkloadError: a profile or workload is no longer there, or the records are of a version
            whose looks asked no task in turns.
    """
    yield from records.anchors
    yield from records.failures
    yield from records.phases
    yield from records.observations
    for asked in _asked(records, folder, subject_of):
        announce(asked.workload.name)
        for name, predictor in predictors.items():
            yield from forecasts_with_luck(
                name,
                predictor,
                *asked,
                subject_of,
                seconds_s=records.header["seconds_s"],
                warm_up_s=records.header["warm_up_s"],
            )


def _asked(records: Records, folder: Path, subject_of: SubjectOf) -> list[Asked]:
    policies = records.header["policies"]
    profiles = {policy: load_profile(profile_of(folder, policy), None) for policy in policies}
    looks = {policy: Looks() for policy in policies}
    workloads = []
    for seen in records.anchors:
        workload = load_workload(workload_path_of(folder, seen.scenario))
        workload = workload.model_copy(update={"policy": seen.policy})
        looks[seen.policy].add(workload, subject_of, _speeds(seen))
        workloads.append(workload)
    return [
        Asked(
            workload,
            anchored(
                profiles[workload.policy],
                workload,
                subject_of,
                looks[workload.policy].expected(workload, subject_of),
            ),
        )
        for workload in workloads
    ]


def _speeds(seen: Anchor) -> Mapping[str, Speed]:
    if seen.in_turns is None:
        raise WorkloadError(
            "these records are of an earlier version, which did not ask tasks in turns before it "
            "forecast; run 'cotenant bench prediction' anew"
        )
    return {
        task: Speed(calm, seen.warm[task], seen.in_turns[task]) for task, calm in seen.calm.items()
    }
