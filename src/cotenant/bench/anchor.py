"""A profile and looks at a server go in; the profile as the looks have corrected it comes out.

A shared machine is not always as fast as it was when it was profiled: it was slow while one model
was measured, and fast during another, and it changes by some percent within an hour. So each task
of a mix is asked alone before every forecast, which takes what all looks so far say of a model, on
the machine as it has been of late. What one look says of the machine is noise: 5 % over two
seconds, of which nothing is left after 15 s. Nothing here looks at the latencies of a mix.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cotenant.bench.asking import Asker, Rhythm, warm_up
from cotenant.core.errors import ExecutionError
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.profiling.estimate import without_stalls
from cotenant.profiling.profile import Alone, Profile, ServiceTime, Subject

SubjectOf = Callable[[Task, Workload], Subject]

_CALM, _RESTED, _QUICK = 8, 4, 16
"""Requests of a look, with pauses, long ones and none: of the last at least so many."""
_QUICK_S = 0.5
"""How long to ask each without pauses, at least."""
_DOUBT = 0.5
"""Looks without a finding that a model starts with ..."""
_TRUST = 3
"""... and the machine, of which the profile has seen more."""
_MEMORY = 20
"""Looks after which one says of the machine e times less than the last: they differ by 5 % each,
and the machine changes by 2 % in an hour, which is some 60."""
_NOISE = 0.15
"""Logarithm of a speed: three times what looks at the same machine differ by. One that is further
off counts as if it were so far."""
_SWEEPS = 20

Paces = npt.NDArray[np.float64]
"""Logarithms of a `Speed`."""


class Speed(NamedTuple):
    """What a task takes alone, over what the profile says it takes."""

    calm: float
    """With pauses."""
    rested: float
    """With long ones."""
    warm: float
    """Back to back."""
    in_turns: float
    """Back to back with the other tasks of its mix."""


def speeds(
    workload: Workload, profile: Profile, subject_of: SubjectOf, asker: Asker
) -> dict[str, Speed]:
    """Ask every task alone, with pauses of both lengths and back to back, and all in turns.

    Raises:
        ExecutionError: a task does not answer.
    """
    alone = {
        task.name: (
            _with_pauses(task.name, one, asker),
            _after_long_rests(task.name, one, asker),
            _back_to_back(task.name, one, asker),
        )
        for task, one in _known(workload, profile, subject_of)
    }
    turns = turn_speeds(workload, profile, subject_of, asker)
    return {task: Speed(*paces, turns[task]) for task, paces in alone.items()}


class Looks:
    """All looks of a run, up to now, at the models of one profile.

    A look at a model says two things: how fast the machine is now, which its neighbours of the same
    look say too, and what is wrong with the profile of the model, which its other looks say too:

        log look[i, model] = machine[i] + model + the moment's noise,

    at each pace: a host that takes memory away makes services after rests slow, and no others.

    Both parts are medians of what the other one leaves over, in turns (Tukey's median polish).
    Alone, a model takes as long whether it is critical or not. A machine is slow now and then
    rather than fast, and means are to be forecast, so how fast it is of late is a mean.
    """

    def __init__(self) -> None:
        self._seen: list[dict[Subject, Paces]] = []

    def add(self, workload: Workload, subject_of: SubjectOf, now: Mapping[str, Speed]) -> None:
        """What a look has seen of each task."""
        self._seen.append(
            {
                subject_of(task, workload).of_any_criticality: np.log(now[task.name])
                for task in workload.tasks
            }
        )

    def expected(self, workload: Workload, subject_of: SubjectOf) -> dict[str, Speed]:
        """Each task's model at each pace, on the machine as it has been of late."""
        machine, models = self._told_apart()
        middle = np.median(machine, axis=0)
        kept = np.clip(machine, middle - _NOISE, middle + _NOISE)
        weights = np.exp(-np.arange(len(kept))[::-1] / _MEMORY)
        of_late = weights @ kept / (weights.sum() + _TRUST)
        return {
            task.name: Speed(
                *np.exp(of_late + models[subject_of(task, workload).of_any_criticality]).tolist()
            )
            for task in workload.tasks
        }

    def _told_apart(self) -> tuple[Paces, dict[Subject, Paces]]:
        """The logarithms of the machine in each look, and of each model; both at each pace."""
        looks: dict[Subject, list[int]] = {}
        for number, seen in enumerate(self._seen):
            for subject in seen:
                looks.setdefault(subject, []).append(number)
        models = {subject: np.zeros(len(Speed._fields)) for subject in looks}
        machine = np.zeros((len(self._seen), len(Speed._fields)))
        for _ in range(_SWEEPS):
            machine = np.array(
                [
                    np.median([pace - models[subject] for subject, pace in seen.items()], axis=0)
                    for seen in self._seen
                ]
            )
            models = {
                subject: len(those)
                / (len(those) + _DOUBT)
                * np.median(
                    [self._seen[number][subject] - machine[number] for number in those], axis=0
                )
                for subject, those in looks.items()
            }
        return machine, models


def turn_speeds(
    workload: Workload, profile: Profile, subject_of: SubjectOf, asker: Asker
) -> dict[str, float]:
    """The same in turns only.

    Raises:
        ExecutionError: a task does not answer.
    """
    expected_s = {
        task.name: one.after_another * one.service.mean_s + one.warm_around_s
        for task, one in _known(workload, profile, subject_of)
    }
    rounds = max(_QUICK, int(_QUICK_S * len(expected_s) / sum(expected_s.values())))
    seen_s = asker.in_turns(expected_s, rounds + warm_up(Rhythm.IN_TURNS))
    return {
        task: _pace(task, seen_s[task], each_s, Rhythm.IN_TURNS)
        for task, each_s in expected_s.items()
    }


def anchored(
    profile: Profile, workload: Workload, subject_of: SubjectOf, now: Mapping[str, Speed]
) -> Profile:
    """The profile with the times alone of these tasks as they are now.

    What was measured of pairs are ratios, and stays.
    """
    by_subject = {subject_of(task, workload): now[task.name] for task in workload.tasks}
    return profile.model_copy(
        update={
            "alone": tuple(
                _at_speed(one, by_subject[one.subject]) if one.subject in by_subject else one
                for one in profile.alone
            )
        }
    )


def _known(
    workload: Workload, profile: Profile, subject_of: SubjectOf
) -> Iterable[tuple[Task, Alone]]:
    for task in workload.tasks:
        yield task, profile.service_of(subject_of(task, workload), task)[0]


def _with_pauses(task: str, known: Alone, asker: Asker) -> float:
    expected_s = known.service.mean_s + known.around_s
    return _pace_alone(task, expected_s, _CALM, Rhythm.CALM, asker)


def _after_long_rests(task: str, known: Alone, asker: Asker) -> float:
    expected_s = known.after_a_long_rest * (known.service.mean_s + known.around_s)
    return _pace_alone(task, expected_s, _RESTED, Rhythm.RESTED, asker)


def _back_to_back(task: str, known: Alone, asker: Asker) -> float:
    expected_s = known.after_itself * known.service.mean_s + known.warm_around_s
    requests = max(_QUICK, int(_QUICK_S / expected_s))
    return _pace_alone(task, expected_s, requests, Rhythm.BACK_TO_BACK, asker)


def _pace_alone(task: str, expected_s: float, requests: int, rhythm: Rhythm, asker: Asker) -> float:
    seen_s = asker.alone(task, expected_s, requests + warm_up(rhythm), rhythm)
    return _pace(task, seen_s, expected_s, rhythm)


def _pace(task: str, latencies_s: Sequence[float], expected_s: float, rhythm: Rhythm) -> float:
    """The mean over what was expected, which is a mean, too."""
    if not latencies_s:
        raise ExecutionError(f"task {task!r} did not answer when it was asked alone; see its log")
    # A machine that is much slower than expected has answered few.
    kept_s = np.asarray(latencies_s)[min(warm_up(rhythm), len(latencies_s) // 2) :]
    return float(without_stalls(kept_s).mean()) / expected_s


def _at_speed(one: Alone, speed: Speed) -> Alone:
    return one.model_copy(
        update={
            "service": _scaled(one.service, speed.calm),
            "by_segment": tuple(_scaled(part, speed.calm) for part in one.by_segment),
            "front_s": None if one.front_s is None else one.front_s * speed.calm,
            "warm_front_s": None if one.warm_front_s is None else one.warm_front_s * speed.warm,
            "front_busy_s": None if one.front_busy_s is None else one.front_busy_s * speed.warm,
            "warm": one.after_itself * speed.warm / speed.calm,
            "in_turns": one.after_another * speed.in_turns / speed.calm,
            "rested": one.after_a_long_rest * speed.rested / speed.calm,
        }
    )


def _scaled(time: ServiceTime, factor: float) -> ServiceTime:
    return time.model_copy(
        update={
            "mean_s": time.mean_s * factor,
            "second_moment_s2": time.second_moment_s2 * factor**2,
            "quantiles_s": tuple(one * factor for one in time.quantiles_s),
        }
    )
