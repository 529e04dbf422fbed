"""Kernels that were queued go in; which of them is the first that has not ended comes out.

One of these for each in-order queue, or for a queue and its side queues: then a later kernel
may have ended before the head has, and is forgotten with it. Nobody is told when a kernel ends:
whoever asks looks.
"""

import threading
from collections import deque
from itertools import islice
from typing import NamedTuple

from cotenant.core.clock import Clock
from cotenant.device.elastic.driver import Event
from cotenant.device.sharing import KernelView


class Launched(NamedTuple):
    """One launch of a kernel."""

    task: str
    kernel: KernelView
    event: Event
    part: float = 1.0
    """How much of the kernel's tiles."""
    queued_s: float = 0.0
    """When it stood in the queue."""

    @property
    def expected_s(self) -> float:
        """Its time alone; nothing, where that is unknown."""
        return (self.kernel.alone_s or 0.0) * self.part


class Head(NamedTuple):
    """The first launch in a queue that has not ended."""

    launched: Launched
    since_s: float
    """When it was first seen as the first."""


class Flights:
    """What one queue still has to do. Threads may ask at any time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._launched: deque[Launched] = deque()
        self._since_s = 0.0

    def add(self, launched: Launched) -> None:
        with self._lock:
            now_s = self._clock.now()
            if not self._launched:
                self._since_s = now_s
            self._launched.append(launched._replace(queued_s=now_s))

    def head(self) -> Head | None:
        with self._lock:
            self._forget_ended()
            return Head(self._launched[0], self._since_s) if self._launched else None

    def __len__(self) -> int:
        with self._lock:
            self._forget_ended()
            return len(self._launched)

    def behind_s(self) -> float:
        """Time alone of all that stands behind the head."""
        with self._lock:
            self._forget_ended()
            return sum(one.expected_s for one in islice(self._launched, 1, None))

    def _forget_ended(self) -> None:
        ended = False
        while self._launched and self._launched[0].event.ended:
            self._launched.popleft()
            ended = True
        if ended:
            self._since_s = self._clock.now()
