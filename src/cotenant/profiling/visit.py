"""A running machine and some tasks go in; how long their launches took comes out.

In company a best-effort task sends its next request at once, so that its neighbour always meets
it. A critical one leaves a gap, as cameras do: back to back it would leave the other one nothing,
and find its own caches warmer than in life. In turns each is asked as soon as the one before it has
answered.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import ExecutionError
from cotenant.core.record import Record
from cotenant.core.request import Tensor
from cotenant.core.task import Periodic, Poisson, Task
from cotenant.profiling.profile import PAUSE_S
from cotenant.runtime.live import LiveRuntime

Times = npt.NDArray[np.float64]

_WARM_UP = 2
"""Requests at the start of a visit that do not count."""


class Guest(NamedTuple):
    """One task of a visit, and what it is asked."""

    task: Task
    rows: int
    inputs: Mapping[str, Tensor]
    pause_s: float | None = None
    """Between two requests, when nobody else is there; `None` for as its arrivals would."""


class Stay(NamedTuple):
    """What one guest's requests took."""

    service_s: Times
    segments_s: Times  # [segment, request]
    overhead_s: Times
    """Round trip in the same interpreter less the service."""
    busy: float
    """Fraction of the visit in which it was in service."""
    net_s: Times
    """Service times, less the time in which its company was in service, too."""
    interruptions: Times
    """How often its company began a service within each of its own."""


Answers = list[tuple[Record, float]]
"""Each with the seconds of its round trip."""


async def visit(machine: LiveRuntime, guests: Sequence[Guest], requests: int) -> list[Stay]:
    """Let all guests send until each has been answered `requests` times.

    Raises:
        ExecutionError: an inference failed.
    """
    left = {guest.task.name: requests + _WARM_UP for guest in guests}

    async def drive(guest: Guest) -> Answers:
        taken = []
        gap_s = gap_alone_s(guest.task) if guest.pause_s is None else guest.pause_s
        while any(count > 0 for count in left.values()):
            taken.append(await _ask(machine, guest))
            left[guest.task.name] -= 1
            await asyncio.sleep(gap_s if len(guests) == 1 else _gap_s(guest.task))
        return taken

    async with asyncio.TaskGroup() as group:
        drives = [group.create_task(drive(guest)) for guest in guests]
    taken = [one.result() for one in drives]
    return [
        _stay(own, [record for other in taken if other is not own for record, _ in other])
        for own in taken
    ]


async def visit_in_turns(
    machine: LiveRuntime, guests: Sequence[Guest], requests: int
) -> list[Stay]:
    """Let the guests send one after the other, until each has been answered `requests` times.

    Raises:
        ExecutionError: an inference failed.
    """
    taken: list[Answers] = [[] for _ in guests]
    for _ in range(requests + _WARM_UP):
        for own, guest in zip(taken, guests, strict=True):
            own.append(await _ask(machine, guest))
    return [_stay(own, ()) for own in taken]


async def _ask(machine: LiveRuntime, guest: Guest) -> tuple[Record, float]:
    clock = MonotonicClock()
    sent_s = clock.now()
    answer = await machine.infer(guest.task.name, guest.inputs, rows=guest.rows)
    if answer.error is not None:
        raise ExecutionError(
            f"task {guest.task.name!r} cannot be measured: {answer.error}"
        ) from answer.error
    return answer.record, clock.now() - sent_s


def _stay(taken: Answers, company: Sequence[Record]) -> Stay:
    service_s = np.array([record.service_s or 0.0 for record, _ in taken])
    round_trip_s = np.array([trip_s for _, trip_s in taken])
    lasted_s = taken[-1][0].end_s - taken[0][0].arrival_s
    kept = slice(_WARM_UP, None)
    starts_s, ends_s = _spans_s([record for record, _ in taken])
    others_s, other_ends_s = _spans_s(company)
    together_s = np.minimum.outer(ends_s, other_ends_s) - np.maximum.outer(starts_s, others_s)
    begun = np.greater.outer(ends_s, others_s) & np.less.outer(starts_s, others_s)
    return Stay(
        service_s[kept],
        _segments_s([record for record, _ in taken[kept]]),
        np.maximum(round_trip_s - service_s, 0.0)[kept],
        float(min(1.0, service_s.sum() / lasted_s)),
        (service_s - np.maximum(together_s, 0.0).sum(axis=1))[kept],
        begun.sum(axis=1)[kept].astype(np.float64),
    )


def _spans_s(records: Sequence[Record]) -> tuple[Times, Times]:
    """Starts and ends of the services."""
    started = [(one.start_s, one.end_s) for one in records if one.start_s is not None]
    spans_s = np.array(started, dtype=np.float64).reshape(-1, 2)
    return spans_s[:, 0], spans_s[:, 1]


def _segments_s(records: Sequence[Record]) -> Times:
    return np.array([[end_s - start_s for start_s, end_s in one.segments] for one in records]).T


def gap_alone_s(task: Task) -> float:
    """Alone, best-effort work with arrivals of its own meets the cold caches that it will find."""
    if isinstance(task.arrivals, Periodic | Poisson):
        return min(PAUSE_S, 1.0 / task.arrivals.rate_rps)
    return _gap_s(task)


def _gap_s(task: Task) -> float:
    if not task.critical:
        return 0.0
    if isinstance(task.arrivals, Periodic | Poisson):
        return min(PAUSE_S, 1.0 / task.arrivals.rate_rps)
    return PAUSE_S
