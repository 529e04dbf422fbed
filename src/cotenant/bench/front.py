"""A profile goes in; the same profile with each task's time at the server's front comes out.

A client sees more than the machine's own service: what it waits beyond the service that the server
recorded is the front (`bench/apart.py`). What the front takes from other tasks is less than that
wait: the processor time of the server's own process, without its lanes. All tasks of a model count
as one, which halves the noise.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from cotenant.bench.apart import (
    Pace,
    Seen,
    ServedRecords,
    Took,
    all_told_apart,
    late_s,
    one_pass,
    round_s,
    took,
)
from cotenant.bench.asking import Asker, Rhythm
from cotenant.bench.load import LoadGenerator
from cotenant.bench.servers import SERVE, Server
from cotenant.core.workload import Workload
from cotenant.profiling.cooling import Paused, cooling_s, with_nothing_left
from cotenant.profiling.profile import Profile, Subject

PASSES = 8
"""Over all tasks. A shared machine is 5 % faster or slower for some seconds, and then another one:
many short passes, minutes apart, are worth more than few long ones."""
_REQUESTS = 12
"""Of each task in each pass ..."""
_AFTER_LONG_RESTS = 2
"""... and of these, which rest for longer than all the others take."""
RECORDS_OF_FRONT = "front.jsonl"
_FRONT_S = 0.001
"""About what a request needs beyond its service, so that there are enough of them."""


def has_front(profile: Profile, subjects: Sequence[Subject]) -> bool:
    """Whether every one of them was measured from the client's side, too."""
    known = {
        one.subject
        for one in profile.alone
        if None
        not in (
            one.front_s,
            one.warm_front_s,
            one.front_busy_s,
            one.late_s,
            one.in_turns,
            one.rested,
        )
    }
    return known.issuperset(subjects)


def with_front(
    profile: Profile,
    workload: Workload,
    subjects: Sequence[Subject],
    generator: LoadGenerator,
    folder: Path,
    *,
    seed: int,
    asking: Callable[[str], None] = lambda task: None,
    program: Sequence[str] = SERVE,
) -> Profile:
    """Ask every task of the workload alone; `subjects` stand in the same order.

    The service becomes the one that the server recorded: its lane shares a core with the front.

    Raises:
        ExecutionError: the server does not start, or answers and records differ.
    """
    records = folder / RECORDS_OF_FRONT
    records.unlink(missing_ok=True)
    expected_s = {
        task.name: known.service.mean_s + _FRONT_S
        for task, subject in zip(workload.tasks, subjects, strict=True)
        for known in profile.alone
        if known.subject == subject and known.batch == 1
    }
    paces: dict[str, list[Pace]] = {task: [] for task in expected_s}
    with Server(workload, workload.policy, folder, program, records) as server:
        server.wait_ready()
        asker = Asker(server, generator, seed)
        for _ in range(PASSES):
            for task, each in one_pass(asker, expected_s, _requests, asking).items():
                paces[task] += each
        of_task = all_told_apart(paces, ServedRecords(records))
    by_model: dict[Subject, list[Seen]] = {}
    for task, subject in zip(expected_s, subjects, strict=True):
        by_model.setdefault(subject.of_any_criticality, []).append(of_task[task])
    models = {model: took(seen) for model, seen in by_model.items()}
    found = {subject: models[subject.of_any_criticality] for subject in subjects}
    later_s = late_s([(models[model], one) for model, seen in by_model.items() for one in seen])
    cools_s = _cooling_s([*models.values()]) or profile.cooling_s
    lasted_s = round_s(found[subject] for subject in subjects)
    return profile.model_copy(
        update={
            "cooling_s": cools_s,
            "alone": tuple(
                one.model_copy(
                    update={
                        "front_s": found[one.subject].front_s,
                        "warm_front_s": found[one.subject].warm_front_s,
                        "late_s": later_s,
                        "front_busy_s": found[one.subject].front_busy_s,
                        "warm": found[one.subject].warm,
                        "in_turns": _with_nothing_left(found[one.subject], lasted_s, cools_s),
                        "rested": found[one.subject].rested,
                        "service": found[one.subject].service if one.batch == 1 else one.service,
                    }
                )
                if one.subject in found
                else one
                for one in profile.alone
            ),
        }
    )


def _cooling_s(models: Sequence[Took]) -> float | None:
    """How fast a model's own is lost from the caches of a machine that is also a server."""
    return cooling_s([Paused(1.0, one.brief, one.warm) for one in models if one.brief is not None])


def _with_nothing_left(model: Took, lasted_s: float, cools_s: float) -> float:
    """What it takes after all the others, over its usual time."""
    return with_nothing_left(model.in_turns, model.warm, lasted_s - model.in_turns_s, cools_s)


def _requests(rhythm: Rhythm, each_s: float) -> int:
    return _AFTER_LONG_RESTS if rhythm is Rhythm.RESTED else _REQUESTS
