"""A device that is the processor itself goes in; the class of the threads that are it comes out.

PoCL runs the kernels of all queues on one thread for each core. While critical work is there,
these threads are critical, whatever kernel they run: a best-effort tile has to end before a
critical one can begin. Otherwise they are best-effort, as a lane of the processor would be.

Critical here is a high weight in the ordinary class, not the real-time class: Linux stops that one
for 50 ms of each second in which it fills a core, and a device that is never idle fills them all.
"""

import os
from collections.abc import Callable
from typing import TypeVar

from cotenant.core.clock import Clock, thread_time_s
from cotenant.device.cpu.scheduling import Rung, move_threads

_Made = TypeVar("_Made")


class Workers:
    """The threads of a device; none for one that is no processor."""

    def __init__(self, threads: frozenset[int], rung: Rung, clock: Clock) -> None:
        """With rung GATED they stay in the class that they have."""
        self._threads = threads
        self._rung = Rung.NICE_IDLE if rung is Rung.FIFO_IDLE else rung
        self._clock = clock
        self._critical: bool | None = None
        self._used_s = dict.fromkeys(threads, 0.0)
        self._ran_s = 0.0

    def serve(self, critical: bool) -> None:
        """Take the class of what is on the device."""
        if critical is not self._critical:
            self._critical = critical
            move_threads(self._threads, self._rung, critical=critical)

    def ran_s(self) -> float:
        """A clock that stands still while other programs keep the device from running.

        It advances as its busiest thread does; to be asked by one thread.
        """
        if not self._threads:
            return self._clock.now()
        used_s = {thread: _used_s(thread) for thread in self._threads}
        self._ran_s += max(
            0.0, *(used_s[thread] - self._used_s[thread] for thread in self._threads)
        )
        self._used_s = used_s
        return self._ran_s


def with_threads(make: Callable[[], _Made]) -> tuple[_Made, frozenset[int]]:
    """Whatever `make` makes, and the threads that it has started."""
    before = _threads()
    made = make()
    return made, _threads() - before


def _used_s(thread: int) -> float:
    try:
        return thread_time_s(thread)
    except OSError:
        return 0.0


def _threads() -> frozenset[int]:
    return frozenset(map(int, os.listdir("/proc/self/task")))
