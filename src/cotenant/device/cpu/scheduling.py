"""Criticality becomes a scheduling class of the operating system: a role goes in, a class is taken.

Rungs, best first, by what the privileges allow:

| rung       | critical lanes | best-effort lanes | needs                     |
| ---------- | -------------- | ----------------- | ------------------------- |
| fifo+idle  | SCHED_FIFO     | SCHED_IDLE        | CAP_SYS_NICE or RLIMIT_RTPRIO |
| nice+idle  | nice -10       | SCHED_IDLE        | CAP_SYS_NICE or RLIMIT_NICE |
| idle       | ordinary       | SCHED_IDLE        | nothing (Linux)           |
| gated      | ordinary       | ordinary          | nothing; the coordinator alone holds work back |

A user may ask for a lower one than the best: to see what a machine without the privileges would
do, or where the real-time class is wanted for something else.
"""

import os
import threading
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from cotenant.core.errors import WorkloadError

MAX_RUNG = "COTENANT_MAX_RUNG"
"""The variable that names the highest rung to use."""
_FIFO_CRITICAL = 10
_FIFO_FRONT = 80
_NICE_CRITICAL = -10
_NICE_FRONT = -15
_OUT_OF_MEMORY_FIRST = 1000


class Rung(StrEnum):
    """How much protection the operating system gives here."""

    FIFO_IDLE = "fifo+idle"
    NICE_IDLE = "nice+idle"
    IDLE = "idle"
    GATED = "gated"

    @property
    def meaning(self) -> str:
        return _MEANING[self]


_MEANING = {
    Rung.FIFO_IDLE: "critical lanes in SCHED_FIFO, best-effort lanes in SCHED_IDLE",
    Rung.NICE_IDLE: f"critical lanes at nice {_NICE_CRITICAL}, best-effort lanes in SCHED_IDLE",
    Rung.IDLE: "critical lanes in the ordinary class, best-effort lanes in SCHED_IDLE",
    Rung.GATED: "no scheduling classes; best-effort work is only held back between segments",
}


class Standing(NamedTuple):
    """The rung that is used here, and the best that could be."""

    rung: Rung
    offered: Rung
    """The best that the operating system and the privileges allow."""

    @property
    def shortfall(self) -> str:
        """Why it is not a better one, and what to do about it; empty for the best."""
        if self.rung is not self.offered:
            return (
                f"capped by --max-rung or {MAX_RUNG}; without it this machine gives {self.offered}"
            )
        if self.rung is Rung.FIFO_IDLE:
            return ""
        if self.rung is Rung.GATED:
            return "this operating system lets nobody choose a scheduling class"
        return "SCHED_FIFO was refused; grant CAP_SYS_NICE or an rtprio limit for it"

    def __str__(self) -> str:
        why = f" ({self.shortfall})" if self.shortfall else ""
        return f"{self.rung}: {self.rung.meaning}{why}"


def standing(highest: Rung | None = None) -> Standing:
    """The best rung that works here and is not above `highest` (by default `COTENANT_MAX_RUNG`).

    Raises:
        WorkloadError: the variable names no rung.
    """
    if highest is None:
        highest = _highest(os.environ.get(MAX_RUNG))
    working = [rung for rung in Rung if _offered(rung)]
    allowed = list(Rung)[list(Rung).index(highest) :]
    return Standing(next(rung for rung in working if rung in allowed), working[0])


def throttled_s(settings: Path = Path("/proc/sys/kernel")) -> float:
    """Of each second, how long Linux stops real-time work that fills a core; 0 where it does not.

    Seen here: two SCHED_FIFO loops stood still for 4.9 % of the time, 50 ms at once.
    """
    try:
        runtime_us = int((settings / "sched_rt_runtime_us").read_text())
        period_us = int((settings / "sched_rt_period_us").read_text())
    except (OSError, ValueError):
        return 0.0
    limited = runtime_us >= 0 and period_us > 0
    return max(0.0, (period_us - runtime_us) / period_us) if limited else 0.0


def best_rung() -> Rung:
    """The rung that is used here unless somebody asks for a lower one."""
    return standing().rung


def _highest(name: str | None) -> Rung:
    if not name:
        return Rung.FIFO_IDLE
    try:
        return Rung(name)
    except ValueError:
        raise WorkloadError(
            f"{MAX_RUNG} is {name!r}; set it to one of {', '.join(Rung)}, or to nothing"
        ) from None


def _offered(rung: Rung) -> bool:
    """Whether it works, found by trying it on a thread that then ends."""
    if rung is Rung.GATED:
        return True
    if not hasattr(os, "sched_setscheduler"):
        return False
    if rung is Rung.FIFO_IDLE:
        return _works(lambda: _enter_fifo(_FIFO_FRONT))
    return _works(_enter_idle) and (rung is Rung.IDLE or _works(lambda: _enter_nice(_NICE_FRONT)))


def enter_critical(rung: Rung, order: int) -> None:
    """Put the calling thread, and every thread that it starts from now on, above the ordinary.

    `order` is the task's priority, 1 to 64: a larger one preempts a smaller one.
    """
    if rung is Rung.FIFO_IDLE:
        _enter_fifo(_FIFO_CRITICAL + order - 1)
    elif rung is Rung.NICE_IDLE:
        _enter_nice(_NICE_CRITICAL)


def move_threads(threads: Iterable[int], rung: Rung, *, critical: bool) -> None:
    """Put threads of this interpreter above the ordinary, or below it.

    Threads that have ended are passed over. Who may not go up again is not moved down.
    """
    for thread in threads:
        try:
            if rung is Rung.FIFO_IDLE and critical:
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(_FIFO_CRITICAL))
            elif rung in (Rung.FIFO_IDLE, Rung.NICE_IDLE):
                policy = os.SCHED_OTHER if critical else os.SCHED_IDLE
                os.sched_setscheduler(thread, policy, os.sched_param(0))
                if critical:
                    os.setpriority(os.PRIO_PROCESS, thread, _NICE_CRITICAL)
        except ProcessLookupError:
            continue


def enter_best_effort(rung: Rung) -> None:
    """Put the calling thread, and every thread that it starts, below the ordinary.

    The whole interpreter also becomes the first that the system ends when memory runs out.
    """
    if rung is not Rung.GATED:
        _enter_idle()
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write(str(_OUT_OF_MEMORY_FIRST))
    except OSError:
        pass  # not Linux, or /proc is hidden: only the order of the last resort is lost


def enter_front(rung: Rung) -> None:
    """Put the calling thread above all lanes: it only receives, decides and answers.

    Where nothing else can be in its way it also stays on one core, with the threads that it
    starts: a request passes through several of them, and to wake one on another, sleeping
    core takes longer than all that they do (measured: 0.15 of an empty gRPC call's 0.5 ms).
    """
    if rung is Rung.FIFO_IDLE:
        _enter_fifo(_FIFO_FRONT)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    elif rung is Rung.NICE_IDLE:
        _enter_nice(_NICE_FRONT)


def release_children(cores: Iterable[int]) -> None:
    """From now on the calling thread's children start in the ordinary class, on these cores.

    The thread itself stays where it is: while it holds the interpreter lock, whoever waits for
    the lock waits for it, so it must never be below them.
    """
    if hasattr(os, "sched_setscheduler"):
        own = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, own | os.SCHED_RESET_ON_FORK, os.sched_getparam(0))
        os.sched_setaffinity(0, cores)


def enter_ordinary() -> None:
    """Put the calling thread into the ordinary class, on any core."""
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def _enter_fifo(priority: int) -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))


def _enter_idle() -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _enter_nice(value: int) -> None:
    # On Linux a nice value belongs to a thread, and new threads inherit it.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), value)


def _works(attempt: Callable[[], None]) -> bool:
    worked = []

    def run() -> None:
        try:
            attempt()
        except OSError:
            return
        worked.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return bool(worked)
