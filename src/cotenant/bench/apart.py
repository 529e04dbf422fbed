"""Answers to a client and the server's own records go in; front and service, told apart, come out.

Every task is asked alone by the load generator, at a calm pace, after long rests, back to back, in
turns with the others, and by clients who do not wait for each other. What its client waits beyond
the service that the server recorded is the front: protocol, tensors on the wire, and the way to the
lane. Calm and quick differ because cores that rest fall asleep, own turns and others' because
caches are lost. A front that shares its machine with others is three times slower at one hour than
at another, while services differ by a tenth: one speed cannot stand for both.

Alone there is nobody to rank above: critical or not, a model takes as long.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from cotenant.bench.asking import PAUSES_S, Asker, Rhythm, warm_up
from cotenant.core.clock import processor_time_s
from cotenant.core.errors import ExecutionError
from cotenant.core.record import Outcome
from cotenant.profiling.estimate import Times, median_of_means, pooled, without_stalls
from cotenant.profiling.profile import ServiceTime, service_time

Requests = Callable[[Rhythm, float], int]
"""How many requests count, at a rhythm and with so many seconds each; none: it is left out."""

_RECORDS_WITHIN_S = 10.0
"""A server writes its records every second."""
_READ_EVERY_S = 0.1


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


class Took(NamedTuple):
    """What a model takes alone, by all the tasks that run it."""

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
    openly: float
    """The same of clients who do not wait for each other."""
    rested: float
    """The same after long rests ..."""
    brief: float | None
    """... and after brief ones, if it was asked so."""

    @property
    def in_turns_s(self) -> float:
        """Mean service in turns with all the others."""
        return self.in_turns * self.service.mean_s


class ServedRecords:
    """The file that a running server appends its records to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._ahead: dict[str, deque[Served]] = {}

    def after(self, answered: Mapping[str, int]) -> dict[str, list[Served]]:
        """The next so many of each task, in the order of their ends.

        Raises:
            ExecutionError: the server has recorded fewer.
        """
        give_up_s = time.monotonic() + _RECORDS_WITHIN_S
        while not all(len(self._ahead.get(task, ())) >= n for task, n in answered.items()):
            if time.monotonic() > give_up_s:
                known = {task: len(self._ahead.get(task, ())) for task in answered}
                raise ExecutionError(
                    f"tasks answered {dict(answered)} requests and the server recorded {known} in "
                    f"{str(self._path)!r}; read its log beside it, and run the bench again"
                )
            if not self._read_on():
                time.sleep(_READ_EVERY_S)
        return {
            task: [self._ahead[task].popleft() for _ in range(n)] for task, n in answered.items()
        }

    def _read_on(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(end)
        for line in whole.splitlines():
            fields = orjson.loads(line)
            if fields["outcome"] == Outcome.OK:
                served = Served(*(fields[name] for name in Served._fields))
                self._ahead.setdefault(fields["task"], deque()).append(served)
        return bool(whole)


def one_pass(
    asker: Asker,
    expected_s: Mapping[str, float],
    requests: Requests,
    asking: Callable[[str], None] = lambda task: None,
) -> dict[str, list[Pace]]:
    """Ask all tasks at every rhythm; by task.

    Args:
        expected_s: how long each will take.
    """
    paces = {}
    for task, each_s in expected_s.items():
        asking(task)
        paces[task] = [*_alone_at_each(asker, task, each_s, requests)]
    asking("all in turns")
    rounds = requests(Rhythm.IN_TURNS, sum(expected_s.values()) / len(expected_s))
    for task, latencies_s in asker.in_turns(expected_s, rounds + warm_up(Rhythm.IN_TURNS)).items():
        paces[task].append(Pace(Rhythm.IN_TURNS, latencies_s))
    return paces


def all_told_apart(paces: Mapping[str, Sequence[Pace]], records: ServedRecords) -> dict[str, Seen]:
    """Front and service of every task.

    Args:
        records: read up to the first of these requests.

    Raises:
        ExecutionError: answers and records differ, or a rhythm has no answers.
    """
    served = records.after(
        {task: sum(len(one.latencies_s) for one in each) for task, each in paces.items()}
    )
    return {task: told_apart(task, each, served[task]) for task, each in paces.items()}


def told_apart(task: str, paces: Sequence[Pace], served: Sequence[Served]) -> Seen:
    """Front and service of one task, request by request.

    Raises:
        ExecutionError: answers and records differ, or a rhythm has no answers.
    """
    sizes = [len(one.latencies_s) for one in paces]
    by_rhythm: dict[Rhythm, list[Pace]] = {}
    for one in paces:
        by_rhythm.setdefault(one.rhythm, []).append(one)
    if sum(sizes) != len(served) or not all(
        any(one.latencies_s for one in same) for same in by_rhythm.values()
    ):
        raise ExecutionError(
            f"task {task!r} was asked alone and answered {sum(sizes)} times, and the server "
            f"recorded {len(served)}; read its log beside the records, and run the bench again"
        )
    own = np.split(np.array(served, dtype=np.float64), np.cumsum(sizes)[:-1])
    fronts_s: dict[Rhythm, list[Times]] = {rhythm: [] for rhythm in by_rhythm}
    services_s: dict[Rhythm, list[Times]] = {rhythm: [] for rhythm in by_rhythm}
    for pace, rows in zip(paces, own, strict=True):
        if len(rows):
            # A machine that is much slower than expected has answered few.
            skipped = min(warm_up(pace.rhythm), len(rows) // 2)
            arrival_s, start_s, end_s = rows[skipped:].T
            # Request by request, so that what disturbed one service does not count as front.
            spent_s = end_s - (arrival_s if pace.rhythm is Rhythm.OPEN else start_s)
            fronts_s[pace.rhythm].append(np.asarray(pace.latencies_s)[skipped:] - spent_s)
            services_s[pace.rhythm].append(without_stalls(end_s - start_s))
    # Back to back: between requests that come one by one it also looks around.
    quick = by_rhythm[Rhythm.BACK_TO_BACK]
    busy_s = [one.busy_s / len(one.latencies_s) for one in quick if one.latencies_s]
    return Seen(fronts_s, services_s, busy_s)


def took(tasks: Sequence[Seen]) -> Took:
    """What all the tasks of one model have seen, as one."""
    fronts_s, services_s = (
        {rhythm: [one for by in each for one in by[rhythm]] for rhythm in each[0]}
        for each in ([seen.fronts_s for seen in tasks], [seen.services_s for seen in tasks])
    )
    means_s = {rhythm: median_of_means(each) for rhythm, each in services_s.items()}
    # Requests one after the other meet one machine; in turns they are spread over a minute, and
    # vary as those of a deployment do.
    spread = pooled(services_s[Rhythm.IN_TURNS]) / means_s[Rhythm.IN_TURNS]
    calm, quick = Rhythm.CALM, Rhythm.BACK_TO_BACK
    front_s, warm_front_s = (
        max(0.0, float(np.median(np.concatenate(fronts_s[rhythm])))) for rhythm in (calm, quick)
    )
    return Took(
        front_s=front_s,
        service=service_time(means_s[calm] * spread),
        warm_front_s=min(front_s, warm_front_s),
        front_busy_s=float(np.median([one for seen in tasks for one in seen.busy_s])),
        warm=means_s[quick] / means_s[calm],
        in_turns=means_s[Rhythm.IN_TURNS] / means_s[calm],
        openly=means_s[Rhythm.OPEN] / means_s[calm],
        rested=means_s[Rhythm.RESTED] / means_s[calm],
        brief=means_s[Rhythm.BRIEF] / means_s[calm] if Rhythm.BRIEF in means_s else None,
    )


def round_s(tasks: Iterable[Took]) -> float:
    """How long it takes to ask all of them in turns, once each."""
    return sum(one.in_turns_s + one.warm_front_s for one in tasks)


def late_s(tasks: Sequence[tuple[Took, Seen]]) -> float:
    """How much longer clients who do not wait for each other are at the front, than one who does.

    They are late themselves, and now and then the host lets a client's core sleep on for 10 ms
    while the answer is there; both belong to latencies that count from when a request was due. The
    mean over all tasks, for whom the client does the same, of the middle one of the passes.
    """
    beyond = [
        [front_s - model.warm_front_s for front_s in seen.fronts_s[Rhythm.OPEN]]
        for model, seen in tasks
    ]
    return max(0.0, median_of_means([np.concatenate(one) for one in zip(*beyond, strict=False)]))


def _alone_at_each(asker: Asker, task: str, each_s: float, requests: Requests) -> Iterator[Pace]:
    """With pauses, back to back, and without waiting."""
    for rhythm in (*PAUSES_S, Rhythm.OPEN):
        counted = requests(rhythm, each_s)
        if not counted:
            continue
        asked = counted + warm_up(rhythm)
        before_s = processor_time_s(asker.server.pid)
        latencies_s = (
            asker.openly(task, each_s, asked)
            if rhythm is Rhythm.OPEN
            else asker.alone(task, each_s, asked, rhythm)
        )
        yield Pace(rhythm, latencies_s, processor_time_s(asker.server.pid) - before_s)
