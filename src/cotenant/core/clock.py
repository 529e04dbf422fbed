"""The only place that reads the time: in goes nothing, out come seconds on some clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that never run backwards; the zero point means nothing."""

    def now(self) -> float: ...


class MonotonicClock:
    """The machine's own clock (CLOCK_MONOTONIC, shared by all processes of the machine)."""

    def now(self) -> float:
        return time.monotonic()


class VirtualClock:
    """A clock that stands still until it is told to move; simulations run on it."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now(self) -> float:
        return self._now_s

    def advance_to(self, time_s: float) -> None:
        """Move to `time_s`; moving backwards is a fault of the caller."""
        if time_s < self._now_s:
            raise ValueError(f"clock stands at {self._now_s} s; it cannot go back to {time_s} s")
        self._now_s = time_s


_SCHEDULER, _PER_THREAD = 2, 4
"""How Linux makes a clock of a number; the C library has a function for processes only, and Python
for none."""


def processor_time_s(process: int | None = None) -> float:
    """Seconds of processor time that all threads of a process have used; of this one if absent.

    Raises:
        OSError: there is no such process any more.
    """
    if process is None:
        return time.process_time()
    return time.clock_gettime((~process << 3) | _SCHEDULER)


def thread_time_s(thread: int) -> float:
    """Seconds of processor time that a thread of this interpreter has used; Linux's number of it.

    Raises:
        OSError: there is no such thread any more.
    """
    return time.clock_gettime((~thread << 3) | _PER_THREAD | _SCHEDULER)


def wall_time_s() -> float:
    """Seconds since the epoch, for time stamps that people and other machines read."""
    return time.time()
