"""Arrivals of one task go in; when the next one is to be expected comes out.

A periodic task says its period. For any other the period is learned, and believed only while
its last gaps were nearly equal: a guess that is wrong costs throughput and protects nothing. A
closed loop of long inferences looks regular, but comes milliseconds early or late, and would have
best-effort work stand back in the very gaps that it leaves.

A request is sent when it is due or a little later, and on its way it is held up, never hurried. So
the next one is due a whole number of periods after the one that was held up least.
"""

from collections import deque
from itertools import pairwise

_GAPS = 8
_SPREAD = 0.1
"""Largest deviation of a gap from their median, relative to it, that still counts as periodic."""
_JITTER_S = 0.001
"""And in seconds: what keeps a period keeps it by a clock."""
_LATE = 0.5
"""How late, in periods, an expected arrival may be before it is no longer expected."""


class Foresight:
    """What is known of one task's arrivals."""

    def __init__(self, period_s: float | None = None) -> None:
        self._told_s = period_s
        self._arrivals_s: deque[float] = deque(maxlen=_GAPS + 1)
        self._period_s: float | None = None
        """Told or learned; `None` before there is anything to count it from."""
        self._due_s = 0.0
        """When the last arrival was due."""

    @property
    def told(self) -> bool:
        """Whether the period is the task's own word."""
        return self._told_s is not None

    def arrived(self, now_s: float) -> None:
        self._arrivals_s.append(now_s)
        self._period_s = period_s = self._told_s or self._learned_s()
        if period_s is not None:
            self._due_s = min(
                one_s + period_s * round((now_s - one_s) / period_s) for one_s in self._arrivals_s
            )

    def next_s(self, now_s: float) -> float | None:
        """Seconds until the next arrival, 0 if it is late; `None` if nothing is known."""
        if self._period_s is None:
            return None
        left_s = self._due_s + self._period_s - now_s
        return None if left_s < -_LATE * self._period_s else max(0.0, left_s)

    def _learned_s(self) -> float | None:
        gaps_s = sorted(later_s - one_s for one_s, later_s in pairwise(self._arrivals_s))
        if len(gaps_s) < _GAPS:
            return None
        median_s = gaps_s[_GAPS // 2]
        most_s = min(_JITTER_S, _SPREAD * median_s)
        return median_s if max(median_s - gaps_s[0], gaps_s[-1] - median_s) <= most_s else None
