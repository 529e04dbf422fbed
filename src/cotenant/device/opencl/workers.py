"""A device that is the processor itself goes in; the class of the threads that are it comes out.

PoCL runs the kernels of all queues on one thread for each core. While critical work is there,
these threads are critical, whatever kernel they run: a best-effort tile has to end before a
critical one can begin. Otherwise they are best-effort, as a lane of the processor would be.
"""

import os
from collections.abc import Callable
from typing import TypeVar

from cotenant.device.cpu.scheduling import Rung, move_threads

_Made = TypeVar("_Made")


class Workers:
    """The threads of a device; none for one that is no processor."""

    def __init__(self, threads: frozenset[int], rung: Rung) -> None:
        self._threads = threads
        self._rung = rung
        self._critical: bool | None = None

    def serve(self, critical: bool) -> None:
        """Take the class of what is on the device."""
        if critical is not self._critical:
            self._critical = critical
            move_threads(self._threads, self._rung, critical=critical)


def with_threads(make: Callable[[], _Made]) -> tuple[_Made, frozenset[int]]:
    """Whatever `make` makes, and the threads that it has started."""
    before = _threads()
    made = make()
    return made, _threads() - before


def _threads() -> frozenset[int]:
    return frozenset(map(int, os.listdir("/proc/self/task")))
