"""A profile and looks at a server go in; the profile as the looks have corrected it comes out.

A shared machine is not always as fast as it was when it was profiled: it was slow while one model
was measured, and fast during another, and it changes by some percent within an hour. So each task
of a mix is asked alone before every forecast, which takes what all looks so far say of a model, on
the machine as it has been of late. What one look says of the machine is noise: 5 % over two
seconds, of which nothing is left after 15 s. Nothing here looks at the latencies of a mix.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cotenant.bench.apart import (
    ServedRecords,
    Took,
    all_told_apart,
    late_s,
    one_pass,
    round_s,
    took,
)
from cotenant.bench.asking import Asker, Rhythm
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.prediction.tenancy import READING
from cotenant.prediction.waking import Paces, Traffic, after, after_on_average
from cotenant.profiling.profile import OPEN_LOAD, Alone, Profile, ServiceTime, Subject

SubjectOf = Callable[[Task, Workload], Subject]

_CALM, _RESTED, _QUICK = 8, 4, 16
"""Requests of a look, with pauses, long ones and none: of the last at least so many ..."""
_QUICK_S = 0.5
"""... and for so long."""
_DOUBT = 0.5
"""Looks without a finding that a model starts with ..."""
_TRUST = 0.25
"""... and the machine: from one hour to the next it changes by more than a look is wrong."""
_MEMORY = 5
"""Looks after which one says of the machine e times less than the last. They differ by 5 % each, so
that five leave 2 %; and an hour may go by without a change, and then the machine is another one."""
_NOISE = 0.15
"""Logarithm of a speed: three times what looks at the same machine differ by. One that is further
off than that from the middle one of the last few counts as if it were so far ..."""
_NOISE_OF_FRONT = 0.45
"""... and of one at the front."""
_SWEEPS = 20
_NONE_S = 1e-6
"""A front of less cannot be told from none."""

Logarithms = npt.NDArray[np.float64]
"""Of a `Speed`."""


class Speed(NamedTuple):
    """What a task takes alone, over what the profile says it takes."""

    calm: float
    """Its service, with pauses."""
    rested: float
    """With long ones."""
    warm: float
    """Back to back."""
    after_another: float
    """In turns with the other tasks of its mix, over what is forecast for such a round: where they
    are few, or short, it finds some of its own in the caches."""
    openly: float
    """All of these again, when clients do not wait for each other: they keep the machine's other
    cores busy, and whatever cores share."""
    front: float
    """At the server's front, with pauses."""
    warm_front: float
    """Back to back."""
    open_front: float
    """When clients do not wait for each other."""
    front_busy: float
    """Processor time of the front."""


_CLIP = np.array(
    [_NOISE_OF_FRONT if "front" in pace else _NOISE for pace in Speed._fields], dtype=np.float64
)


def speeds(
    workload: Workload,
    profile: Profile,
    subject_of: SubjectOf,
    asker: Asker,
    records: ServedRecords,
) -> dict[str, Speed]:
    """Ask every task of a running server alone, at every rhythm.

    Args:
        records: that the server keeps of it, read up to now.

    Raises:
        ExecutionError: a task does not answer, or answers and records differ.
    """
    known = _known(workload, profile, subject_of)
    expected_s = _expected_s(known)
    seen = all_told_apart(one_pass(asker, expected_s, _requests), records)
    found = {task: took([one]) for task, one in seen.items()}
    later_s = late_s([(found[task], seen[task]) for task in known])
    lasted_s = round_s(found.values())
    return {
        task: speed_of(found[task], one, later_s, lasted_s, profile.cooling_s)
        for task, one in known.items()
    }


def speed_of(now: Took, then: Alone, later_s: float, lasted_s: float, cooling_s: float) -> Speed:
    """What one look at a task says.

    Args:
        later_s: how much longer open clients are at the front.
        lasted_s: a round of all tasks in turns.
    """
    mean_s, was_s = now.service.mean_s, then.service.mean_s
    own_rest_s = lasted_s - now.in_turns_s
    in_turns = after(Paces.of(then), own_rest_s, now.warm_front_s, cooling_s)
    after_another = now.in_turns_s / (in_turns * was_s)
    now_after_another = then.after_another * after_another * was_s / mean_s
    return Speed(
        calm=mean_s / was_s,
        rested=now.rested * mean_s / (then.after_a_long_rest * was_s),
        warm=now.warm * mean_s / (then.after_itself * was_s),
        after_another=after_another,
        openly=_openly(now, now_after_another, was_s + then.around_s, cooling_s),
        front=_over(now.front_s, then.around_s),
        warm_front=_over(now.warm_front_s, then.warm_around_s),
        open_front=_over(now.warm_front_s + later_s, then.open_around_s),
        front_busy=_over(now.front_busy_s, then.front_busy_s or 0.0),
    )


def wake(
    workload: Workload,
    profile: Profile,
    subject_of: SubjectOf,
    asker: Asker,
    records: ServedRecords,
) -> None:
    """Ask all in turns, and forget it: a server's first answers are slower than those that follow.

    Raises:
        ExecutionError: answers and records differ.
    """
    expected_s = _expected_s(_known(workload, profile, subject_of))
    each_s = sum(expected_s.values()) / len(expected_s)
    latencies_s = asker.in_turns(expected_s, _requests(Rhythm.IN_TURNS, each_s))
    records.after({task: len(each) for task, each in latencies_s.items()})


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
        self._seen: list[dict[Subject, Logarithms]] = []

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
        middle = np.median(machine[-_MEMORY:], axis=0)
        kept = np.clip(machine, middle - _CLIP, middle + _CLIP)
        weights = np.exp(-np.arange(len(kept))[::-1] / _MEMORY)
        of_late = weights @ kept / (weights.sum() + _TRUST)
        return {
            task.name: Speed(
                *np.exp(of_late + models[subject_of(task, workload).of_any_criticality]).tolist()
            )
            for task in workload.tasks
        }

    def _told_apart(self) -> tuple[Logarithms, dict[Subject, Logarithms]]:
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


def _known(workload: Workload, profile: Profile, subject_of: SubjectOf) -> dict[str, Alone]:
    return {
        task.name: profile.service_of(subject_of(task, workload), task)[0]
        for task in workload.tasks
    }


def _expected_s(known: Mapping[str, Alone]) -> dict[str, float]:
    return {task: one.service.mean_s + one.around_s for task, one in known.items()}


def _requests(rhythm: Rhythm, each_s: float) -> int:
    match rhythm:
        case Rhythm.CALM:
            return _CALM
        case Rhythm.RESTED:
            return _RESTED
        case Rhythm.BRIEF:
            return 0
        case _:
            return max(_QUICK, int(_QUICK_S / each_s))


def _openly(now: Took, after_another: float, expected_s: float, cooling_s: float) -> float:
    """Services of open arrivals, over what is forecast for them from those of one client.

    Args:
        after_another: over what a service takes with pauses.
        expected_s: of a request, by which they were sent.
    """
    own = Traffic(OPEN_LOAD / expected_s, now.service.mean_s)
    paces = Paces(min(1.0, now.warm), after_another, now.rested)
    read = 1.0 - READING * own.rate_rps * now.front_busy_s
    return now.openly * read / after_on_average(paces, own, own, cooling_s)


def _over(now_s: float, then_s: float) -> float:
    return max(_NONE_S, now_s) / max(_NONE_S, then_s)


def _at_speed(one: Alone, speed: Speed) -> Alone:
    slower = speed.calm * speed.openly
    front_s = one.around_s * speed.front
    warm_front_s = min(front_s, one.warm_around_s * speed.warm_front)
    return one.model_copy(
        update={
            "service": _scaled(one.service, slower),
            "by_segment": tuple(_scaled(part, slower) for part in one.by_segment),
            "front_s": front_s,
            "warm_front_s": warm_front_s,
            "late_s": max(0.0, one.open_around_s * speed.open_front - warm_front_s),
            "front_busy_s": None
            if one.front_busy_s is None
            else one.front_busy_s * speed.front_busy,
            "warm": one.after_itself * speed.warm / speed.calm,
            "in_turns": one.after_another * speed.after_another / speed.calm,
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
