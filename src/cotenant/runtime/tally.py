"""Records of one task go in, one by one; its latency figures come out, in bounded memory.

Sojourn times are counted in buckets whose bounds grow by a constant factor, so a quantile
is known to a quarter of a percent however many requests there were; the mean is exact.
"""

import math
from typing import NamedTuple

import numpy as np

from cotenant.core.record import Outcome, Record
from cotenant.core.task import Task

_GROWTH = 1.005
_PER_LOG = 1.0 / math.log(_GROWTH)
_SHORTEST_S = 1e-12
_BLOCK = 4096
"""Sojourn times that are counted at once; one by one would take much of a simulation's time."""
_OK = Outcome.OK


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
        self._buckets: dict[int, int] = {}
        self._uncounted_s: list[float] = []

    def add(self, record: Record) -> None:
        self._requests += 1
        if record.outcome is _OK:
            self._uncounted_s.append(record.end_s - record.arrival_s)
            if len(self._uncounted_s) == _BLOCK:
                self._count()

    def figures(self) -> Figures:
        self._count()
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
        self._count()
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= quantile * self._answered:
                return math.exp((bucket + 0.5) / _PER_LOG)  # the middle of the bucket
        return None

    def _count(self) -> None:
        sojourns_s = np.array(self._uncounted_s)
        self._uncounted_s = []
        self._answered += sojourns_s.size
        self._total_s += float(sojourns_s.sum())
        if self._target_s is not None:
            self._in_time += int(np.count_nonzero(sojourns_s <= self._target_s))
        places = np.floor(np.log(np.maximum(sojourns_s, _SHORTEST_S)) * _PER_LOG).astype(int)
        for place, seen in zip(*np.unique(places, return_counts=True), strict=True):
            self._buckets[int(place)] = self._buckets.get(int(place), 0) + int(seen)
