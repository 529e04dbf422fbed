"""The heads of a device's two queues go in; the kernel that hangs comes out.

A kernel may wait long without being at fault: behind the other side's kernels, or on a device
that lets the other side go first. So only that time counts against it in which the other side
did nothing, or was stuck as well; and, at last, any time that is long enough.
"""

from collections.abc import Callable
from typing import NamedTuple

from cotenant.device.opencl.flights import Flights, Head

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
        self._sides = sides
        self._seen: list[Head | None] = [None for _ in sides]
        self._stuck_s = [0.0 for _ in sides]
        self._asked_s: float | None = None

    def look(self, now_s: float) -> Hung | None:
        """Who hangs, as far as is known now; of several, the one that began first."""
        heads = [side.head() for side in self._sides]
        still = [
            head is not None and head == was for head, was in zip(heads, self._seen, strict=True)
        ]
        elapsed_s = 0.0 if self._asked_s is None else now_s - self._asked_s
        found: list[tuple[float, Hung]] = []
        for side, head in enumerate(heads):
            alone = all(
                other is None or still[number]
                for number, other in enumerate(heads)
                if number != side
            )
            if not still[side]:
                self._stuck_s[side] = 0.0
            elif alone:
                self._stuck_s[side] += elapsed_s
            if head is None:
                continue
            limit_s = _ALONE_TIMES * (head.launched.kernel.alone_s or 0.0) + _AT_LEAST_S
            waited_s = now_s - head.since_s
            if self._stuck_s[side] > limit_s or waited_s > _ANY_TIMES * limit_s:
                about = head.launched
                found.append((head.since_s, Hung(about.task, about.kernel.name, waited_s)))
        self._seen, self._asked_s = heads, now_s
        return min(found, key=_since)[1] if found else None

    def watch(self, now: Callable[[], float], pause: Callable[[], object]) -> Hung:
        """Look, pause, and look again, until something hangs."""
        while True:
            hung = self.look(now())
            if hung is not None:
                return hung
            pause()


def _since(found: tuple[float, Hung]) -> float:
    return found[0]
