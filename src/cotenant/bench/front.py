"""A profile goes in; the same profile with each task's time at the server's front comes out.

A client sees more than the machine's own service: protocol, tensors on the wire, and the way to the
lane. Every task is asked alone by the load generator that will measure it later, at a calm pace,
after long rests, back to back, and in turns with the others; what its client waits beyond the
service that the server recorded is the front. Calm and quick differ because cores that rest fall
asleep, own turns and others' because caches are lost. What the front takes from other tasks is less
than that wait: the processor time of the server's own process, without its lanes.

Alone there is nobody to rank above: critical or not, a model takes as long. So what all tasks of
a model have seen counts as one, which halves the noise.

Last, clients who do not wait for each other: they are late themselves, and now and then the host
lets a client's core sleep on for 10 ms while the answer is there. Both belong to latencies that
count from when a request was due. All tasks share their mean: the client does the same for each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from cotenant.bench.asking import PAUSES_S, Asker, Rhythm, warm_up
from cotenant.bench.load import LoadGenerator
from cotenant.bench.servers import SERVE, Server
from cotenant.core.clock import processor_time_s
from cotenant.core.errors import ExecutionError
from cotenant.core.record import Outcome
from cotenant.core.workload import Workload
from cotenant.profiling.estimate import Times, median_of_means, pooled, without_stalls
from cotenant.profiling.profile import Profile, ServiceTime, Subject, service_time

PASSES = 8
"""Over all tasks. A shared machine is 5 % faster or slower for some seconds, and then another one:
many short passes, minutes apart, are worth more than few long ones."""
REQUESTS = 12
"""Of each task in each pass ..."""
_AFTER_LONG_RESTS = 2
"""... and of these, which rest for longer than all the others take."""
RECORDS_OF_FRONT = "front.jsonl"
_FRONT_S = 0.001
"""About what a request needs beyond its service, so that there are enough of them."""


class Pace(NamedTuple):
    """Requests in the order of sending."""

    rhythm: Rhythm
    latencies_s: Sequence[float]
    busy_s: float = 0.0
    """Processor time of the server's own process meanwhile; 0 where others were asked, too."""


class Served(NamedTuple):
    """One request as the server recorded it."""

    arrival_s: float
    start_s: float
    end_s: float


class Seen(NamedTuple):
    """What one task's requests took, as its client and as the server saw them, by pass."""

    fronts_s: Mapping[Rhythm, Sequence[Times]]
    services_s: Mapping[Rhythm, Sequence[Times]]
    busy_s: Sequence[float]
    """Processor time of the front for one request, back to back."""


class Alone(NamedTuple):
    """What a model takes, by all the tasks that run it."""

    front_s: float
    service: ServiceTime
    warm_front_s: float
    """At the front, back to back."""
    front_busy_s: float
    """Processor time of the front for one request."""
    warm: float
    """Mean service back to back over that with pauses."""
    in_turns: float
    """The same in turns with all the others."""
    rested: float
    """The same after long rests."""


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
            for task, each_s in expected_s.items():
                asking(task)
                paces[task] += _alone_at_each(asker, task, each_s)
            asking("all in turns")
            for task, latencies_s in asker.in_turns(
                expected_s, REQUESTS + warm_up(Rhythm.IN_TURNS)
            ).items():
                paces[task].append(Pace(Rhythm.IN_TURNS, latencies_s))
    served = _served(records)
    by_model: dict[Subject, list[Seen]] = {}
    for task, subject in zip(expected_s, subjects, strict=True):
        seen = _seen(task, paces[task], served.get(task, []))
        by_model.setdefault(subject.of_any_criticality, []).append(seen)
    models = {model: _alone(seen) for model, seen in by_model.items()}
    found = {subject: models[subject.of_any_criticality] for subject in subjects}
    late_s = _late_s(
        [
            [front_s - models[model].warm_front_s for front_s in one.fronts_s[Rhythm.OPEN]]
            for model, seen in by_model.items()
            for one in seen
        ]
    )
    return profile.model_copy(
        update={
            "alone": tuple(
                one.model_copy(
                    update={
                        "front_s": found[one.subject].front_s,
                        "warm_front_s": found[one.subject].warm_front_s,
                        "late_s": late_s,
                        "front_busy_s": found[one.subject].front_busy_s,
                        "warm": found[one.subject].warm,
                        "in_turns": found[one.subject].in_turns,
                        "rested": found[one.subject].rested,
                        "service": found[one.subject].service if one.batch == 1 else one.service,
                    }
                )
                if one.subject in found
                else one
                for one in profile.alone
            )
        }
    )


def _alone_at_each(asker: Asker, task: str, expected_s: float) -> Iterator[Pace]:
    """With pauses, back to back, and without waiting."""
    for rhythm in PAUSES_S:
        before_s = processor_time_s(asker.server.pid)
        requests = _AFTER_LONG_RESTS if rhythm is Rhythm.RESTED else REQUESTS
        latencies_s = asker.alone(task, expected_s, requests + warm_up(rhythm), rhythm)
        yield Pace(rhythm, latencies_s, processor_time_s(asker.server.pid) - before_s)
    yield Pace(Rhythm.OPEN, asker.openly(task, expected_s, REQUESTS + warm_up(Rhythm.OPEN)))


def _late_s(of_tasks: Sequence[Sequence[Times]]) -> float:
    """The mean over all tasks, of the middle one of the passes that all have answered in."""
    return max(0.0, median_of_means([np.concatenate(one) for one in zip(*of_tasks, strict=False)]))


def _served(records: Path) -> dict[str, list[Served]]:
    """By task from the server's own records, in the order of their ends."""
    found: dict[str, list[Served]] = {}
    for line in records.read_bytes().splitlines():
        fields = orjson.loads(line)
        if fields["outcome"] == Outcome.OK:
            served = Served(*(fields[name] for name in Served._fields))
            found.setdefault(fields["task"], []).append(served)
    return found


def _seen(task: str, paces: Sequence[Pace], served: Sequence[Served]) -> Seen:
    sizes = [len(one.latencies_s) for one in paces]
    by_rhythm = {rhythm: [one for one in paces if one.rhythm is rhythm] for rhythm in Rhythm}
    if sum(sizes) != len(served) or not all(
        any(len(one.latencies_s) > warm_up(rhythm) for one in same)
        for rhythm, same in by_rhythm.items()
    ):
        raise ExecutionError(
            f"task {task!r} was asked alone and answered {sum(sizes)} times, and the server "
            f"recorded {len(served)}; read its log beside the records, and run the bench again"
        )
    own = np.split(np.array(served, dtype=np.float64), np.cumsum(sizes)[:-1])
    fronts_s: dict[Rhythm, list[Times]] = {rhythm: [] for rhythm in Rhythm}
    services_s: dict[Rhythm, list[Times]] = {rhythm: [] for rhythm in Rhythm}
    for pace, rows in zip(paces, own, strict=True):
        skipped = warm_up(pace.rhythm)
        if len(rows) > skipped:
            arrival_s, start_s, end_s = rows[skipped:].T
            # Request by request, so that what disturbed one service does not count as front.
            spent_s = end_s - (arrival_s if pace.rhythm is Rhythm.OPEN else start_s)
            fronts_s[pace.rhythm].append(np.asarray(pace.latencies_s)[skipped:] - spent_s)
            services_s[pace.rhythm].append(without_stalls(end_s - start_s))
    # Back to back: between requests that come one by one it also looks around.
    quick = by_rhythm[Rhythm.BACK_TO_BACK]
    busy_s = [one.busy_s / len(one.latencies_s) for one in quick if one.latencies_s]
    return Seen(fronts_s, services_s, busy_s)


def _alone(tasks: Sequence[Seen]) -> Alone:
    fronts_s, services_s = (
        {rhythm: [one for by in each for one in by[rhythm]] for rhythm in Rhythm}
        for each in ([seen.fronts_s for seen in tasks], [seen.services_s for seen in tasks])
    )
    means_s = {rhythm: median_of_means(services_s[rhythm]) for rhythm in Rhythm}
    # Requests one after the other meet one machine; in turns they are spread over a minute, and
    # vary as those of a deployment do.
    spread = pooled(services_s[Rhythm.IN_TURNS]) / means_s[Rhythm.IN_TURNS]
    calm, quick = Rhythm.CALM, Rhythm.BACK_TO_BACK
    front_s, warm_front_s = (
        max(0.0, float(np.median(np.concatenate(fronts_s[rhythm])))) for rhythm in (calm, quick)
    )
    return Alone(
        front_s=front_s,
        service=service_time(means_s[calm] * spread),
        warm_front_s=min(front_s, warm_front_s),
        front_busy_s=float(np.median([one for seen in tasks for one in seen.busy_s])),
        warm=means_s[quick] / means_s[calm],
        in_turns=means_s[Rhythm.IN_TURNS] / means_s[calm],
        rested=means_s[Rhythm.RESTED] / means_s[calm],
    )
