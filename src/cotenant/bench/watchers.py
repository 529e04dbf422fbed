"""A running server goes in; while a phase lasts, memory samples or killed lanes come out."""

import contextlib
import http.client
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cotenant.bench.servers import Lane, Server
from cotenant.core.clock import MonotonicClock

_MEMORY_EVERY_S = 0.5
_ASK_LANES_EVERY_S = 0.1


class MemorySample(NamedTuple):
    """Resident memory of a process tree at one time."""

    time_s: float
    rss_bytes: int


class LaneKill(NamedTuple):
    """One `kill -9`, and how it ended."""

    task: str
    time_s: float
    pid: int
    back_s: float | None
    restarts: int | None


@contextlib.contextmanager
def sampled_memory(server: Server) -> Iterator[list[MemorySample]]:
    """Fill the list with samples while the block runs."""
    clock = MonotonicClock()
    samples: list[MemorySample] = []

    def sample() -> None:
        samples.append(MemorySample(clock.now(), tree_rss_bytes(server.pid)))

    with _every(_MEMORY_EVERY_S, sample):
        yield samples


@contextlib.contextmanager
def killed_lane(server: Server, task: str, kills: int, gap_s: float) -> Iterator[list[LaneKill]]:
    """Kill the task's lane `kills` times while the block runs, at least `gap_s` apart.

    The next kill waits until the lane is ready again, so that each one meets a live lane.
    """
    clock = MonotonicClock()
    killed: list[LaneKill] = []
    first_s = clock.now() + gap_s

    def look() -> None:
        lane = _lane(server, task)
        now_s = clock.now()
        if lane is None or lane.state != "ready" or lane.pid is None:
            return
        if killed and killed[-1].back_s is None and lane.pid != killed[-1].pid:
            killed[-1] = killed[-1]._replace(back_s=now_s, restarts=lane.restarts)
        due_s = killed[-1].time_s + gap_s if killed else first_s
        if len(killed) < kills and now_s >= due_s and (not killed or killed[-1].back_s):
            with contextlib.suppress(ProcessLookupError):
                os.kill(lane.pid, signal.SIGKILL)
                killed.append(LaneKill(task, now_s, lane.pid, None, None))

    with _every(_ASK_LANES_EVERY_S, look):
        yield killed


def tree_rss_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants; what has ended counts nothing."""
    total, pending = 0, [pid]
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    while pending:
        current = pending.pop()
        folder = Path("/proc") / str(current)
        try:
            total += int((folder / "statm").read_text().split()[1]) * page_bytes
            for thread in (folder / "task").iterdir():
                pending.extend(map(int, (thread / "children").read_text().split()))
        except (OSError, ValueError, IndexError):
            continue
    return total


def _lane(server: Server, task: str) -> Lane | None:
    try:
        return server.lanes().get(task)
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None


@contextlib.contextmanager
def _every(gap_s: float, call: Callable[[], None]) -> Iterator[None]:
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(gap_s):
            call()

    thread = threading.Thread(target=repeat, name="watcher", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
