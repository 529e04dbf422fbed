"""Arrivals of one task go in; when the next one is to be expected comes out.

A periodic task says its period. For any other the period is learned, and believed only while
its last gaps were nearly equal: a guess that is wrong costs throughput and protects nothing. A
closed loop of long inferences looks regular, but comes milliseconds early or late, and would have
best-effort work stand back in the very gaps that it leaves.
"""

from collections import deque

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
        self._last_s: float | None = None
        self._gaps_s: deque[float] = deque(maxlen=_GAPS)

    @property
    def told(self) -> bool:
        """Whether the period is the task's own word."""
        return self._told_s is not None

    def arrived(self, now_s: float) -> None:
        if self._last_s is not None:
            self._gaps_s.append(now_s - self._last_s)
        self._last_s = now_s

    def next_s(self, now_s: float) -> float | None:
        """Seconds until the next arrival, 0 if it is late; `None` if nothing is known."""
        period_s = self._told_s or self._learned_s()
        if period_s is None or self._last_s is None:
            return None
        left_s = self._last_s + period_s - now_s
        return None if left_s < -_LATE * period_s else max(0.0, left_s)

    def _learned_s(self) -> float | None:
        if len(self._gaps_s) < _GAPS:
            return None
        median_s = sorted(self._gaps_s)[_GAPS // 2]
        most_s = min(_JITTER_S, _SPREAD * median_s)
        near = all(abs(gap_s - median_s) <= most_s for gap_s in self._gaps_s)
        return median_s if near else None
