"""Best-effort lanes run only part of the time: a duty goes in, stop and continue signals come out.

The last means of the guard, where narrowing is not enough: between two signals the lanes
leave memory bandwidth and caches alone.
"""

import signal
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

_PERIOD_S = 0.02


class Stoppable(Protocol):
    def signal(self, number: int) -> None: ...


class Duty:
    """Stops and continues the lanes of one component; a thread exists only while duty < 1."""

    def __init__(self, lanes: Callable[[], Iterable[Stoppable]]) -> None:
        """`lanes` names the best-effort lanes of the component at the time of asking."""
        self._lanes = lanes
        self._duty = 1.0
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def set(self, duty: float) -> None:
        """Run the lanes for this fraction of the time, 0 < duty <= 1, from now on."""
        self._duty = duty
        self._changed.set()
        if duty < 1.0 and self._thread is None:
            self._thread = threading.Thread(target=self._pulse, name="duty", daemon=True)
            self._thread.start()
        elif duty >= 1.0 and self._thread is not None:
            self._thread.join()
            self._thread = None

    def _pulse(self) -> None:
        while self._duty < 1.0:
            self._changed.clear()
            self._signal(signal.SIGSTOP)
            self._changed.wait((1.0 - self._duty) * _PERIOD_S)
            self._signal(signal.SIGCONT)
            self._changed.wait(self._duty * _PERIOD_S)

    def _signal(self, number: int) -> None:
        for lane in self._lanes():
            lane.signal(number)
