"""The heads of a device's two queues go in; the kernel that hangs comes out.

A kernel may wait long without being at fault: behind the other side's kernels, or on a device
that lets the other side go first. So only that time counts against it in which the other side
did nothing, or was stuck as well; and, at last, any time that is long enough. Time is what the
device has run: on a processor that other programs keep busy, a kernel stands still, too.
"""

from typing import NamedTuple

from cotenant.device.elastic.flights import Flights, Head

_ALONE_TIMES = 20.0
_AT_LEAST_S = 2.0
_ANY_TIMES = 10.0
"""So many times the limit, and a kernel hangs whatever the other side does."""


class Hung(NamedTuple):
    """A kernel that will not end."""

    task: str
    kernel: str
    after_s: float


class Watchdog:
    """To be asked at regular times."""

    def __init__(self, *sides: Flights) -> None:
        self._sides = [_Side(side) for side in sides]
        self._looked_s: float | None = None

    def look(self, now_s: float, ran_s: float) -> Hung | None:
        """Who hangs, as far as is known now; of several, the one that began first.

        Args:
            now_s: on the clock of the flights.
            ran_s: how long the device has run, from any start.
        """
        elapsed_s = 0.0 if self._looked_s is None else ran_s - self._looked_s
        self._looked_s = ran_s
        for side in self._sides:
            side.look()
        found: list[Head] = []
        for side in self._sides:
            idle = all(other.head is None or other.still for other in self._sides if other != side)
            side.count(elapsed_s, alone=idle)
            if side.head is not None and side.hangs:
                found.append(side.head)
        if not found:
            return None
        head = min(found, key=_since)
        about = head.launched
        return Hung(about.task, about.kernel.name, now_s - head.since_s)


class _Side:
    """One queue, and how long its head has been the same."""

    def __init__(self, flights: Flights) -> None:
        self._flights = flights
        self.head: Head | None = None
        self.still = False
        """The head is the one of the last look."""
        self._same_s = 0.0
        self._alone_s = 0.0
        """The part of it in which the other side was no reason to wait."""

    def look(self) -> None:
        seen, self.head = self.head, self._flights.head()
        self.still = self.head is not None and self.head == seen

    def count(self, elapsed_s: float, *, alone: bool) -> None:
        if not self.still:
            self._same_s = self._alone_s = 0.0
            return
        self._same_s += elapsed_s
        self._alone_s += elapsed_s if alone else 0.0

    @property
    def hangs(self) -> bool:
        alone_s = 0.0 if self.head is None else self.head.launched.kernel.alone_s or 0.0
        limit_s = _ALONE_TIMES * alone_s + _AT_LEAST_S
        return self._alone_s > limit_s or self._same_s > _ANY_TIMES * limit_s


def _since(head: Head) -> float:
    return head.since_s
