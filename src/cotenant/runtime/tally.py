"""Records of one task go in, one by one; its latency figures come out, in bounded memory.

Sojourn times are counted in buckets whose bounds grow by a constant factor, so a quantile
is known to a quarter of a percent however many requests there were; the mean is exact.
"""

import math
from collections import Counter
from typing import NamedTuple

from cotenant.core.record import Outcome, Record
from cotenant.core.task import Task

_GROWTH = 1.005
_PER_LOG = 1.0 / math.log(_GROWTH)
_SHORTEST_S = 1e-12


class Figures(NamedTuple):
    """What became of a task's requests. Latencies are `None` where none was answered."""

    requests: int
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    attainment: float | None
    """Share of all requests that were answered within the SLO; `None` without one."""
    dropped: int
    """Requests that got no result, whatever the reason."""


class Tally:
    """Counts one task's records."""

    def __init__(self, task: Task) -> None:
        self._target_s = None if task.slo is None else task.slo.latency_s
        self._requests = self._answered = self._in_time = 0
        self._total_s = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, record: Record) -> None:
        self._requests += 1
        if record.outcome is not Outcome.OK:
            return
        sojourn_s = record.end_s - record.arrival_s
        self._answered += 1
        self._total_s += sojourn_s
        self._buckets[math.floor(math.log(max(sojourn_s, _SHORTEST_S)) * _PER_LOG)] += 1
        if self._target_s is not None and sojourn_s <= self._target_s:
            self._in_time += 1

    def figures(self) -> Figures:
        counted = self._target_s is not None and self._requests > 0
        return Figures(
            self._requests,
            self._total_s / self._answered if self._answered else None,
            self.quantile_s(0.50),
            self.quantile_s(0.95),
            self.quantile_s(0.99),
            self._in_time / self._requests if counted else None,
            self._requests - self._answered,
        )

    def quantile_s(self, quantile: float) -> float | None:
        """The sojourn time that this share of the answered requests did not exceed."""
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= quantile * self._answered:
                return math.exp((bucket + 0.5) / _PER_LOG)  # the middle of the bucket
        return None
