"""Requests go in as they end, a table of the phase that runs comes out, several times a second."""

from collections import defaultdict, deque
from collections.abc import Iterable

import numpy as np
from rich.table import Table

from cotenant.bench.load import Seen
from cotenant.core.clock import Clock
from cotenant.core.record import Outcome
from cotenant.core.task import Task

_BLOCKS = "▁▂▃▄▅▆▇█"
_SPARKS = 28
_REFRESH_EVERY_S = 0.25


class LiveTable:
    """What each task has seen in the current phase, and a trail of latencies across phases."""

    def __init__(self, tasks: tuple[Task, ...], clock: Clock) -> None:
        self._tasks = tasks
        self._clock = clock
        self._phase = "starting"
        self._since_s = clock.now()
        self._drawn_s = 0.0
        self._seen: dict[str, list[Seen]] = defaultdict(list)
        self._trail: dict[str, deque[float]] = {task.name: deque(maxlen=_SPARKS) for task in tasks}
        self._slowest_s: dict[str, float] = {}

    def begin(self, phase: str) -> None:
        """A new phase starts; its figures start afresh, the trail goes on."""
        self._phase = phase
        self._since_s = self._clock.now()
        self._seen.clear()

    def add(self, seen: Seen) -> bool:
        """Take in one request; true when it is time to draw again."""
        self._seen[seen.task].append(seen)
        if seen.outcome is Outcome.OK:
            latency_s = seen.end_s - seen.scheduled_s
            self._trail[seen.task].append(latency_s)
            self._slowest_s[seen.task] = max(latency_s, self._slowest_s.get(seen.task, 0.0))
        now_s = self._clock.now()
        if now_s - self._drawn_s < _REFRESH_EVERY_S:
            return False
        self._drawn_s = now_s
        return True

    def table(self) -> Table:
        """The phase so far."""
        table = Table(title=self._phase, title_justify="left", expand=False)
        for name in ("task", "criticality"):
            table.add_column(name)
        for name in ("rate", "p50", "p99", "in time"):
            table.add_column(name, justify="right")
        table.add_column("latency, latest right", min_width=_SPARKS)
        for task in self._tasks:
            style = "bold" if task.critical else "dim"
            table.add_row(task.name, task.criticality, *self._figures(task), style=style)
        return table

    def line(self) -> str:
        """The phase so far in one line of plain text."""
        parts = []
        for task in self._tasks:
            if self._seen[task.name]:
                rate, p50, p99, in_time, _ = self._figures(task)
                parts.append(f"{task.name} {rate} p50 {p50} p99 {p99} in time {in_time}")
        return f"{self._phase}: " + "; ".join(parts)

    def _figures(self, task: Task) -> tuple[str, str, str, str, str]:
        seen = self._seen[task.name]
        spark = sparkline(self._trail[task.name], self._slowest_s.get(task.name, 0.0))
        if not seen:
            return "-", "-", "-", "-", spark
        elapsed_s = max(1e-3, self._clock.now() - self._since_s)
        latency_s = [one.end_s - one.scheduled_s for one in seen if one.outcome is Outcome.OK]
        p50, p99 = (
            (f"{np.quantile(latency_s, q) * 1e3:.1f} ms" for q in (0.50, 0.99))
            if latency_s
            else ("-", "-")
        )
        limit_s = task.slo.latency_s if task.slo is not None else None
        within = sum(limit_s is None or one <= limit_s for one in latency_s)
        in_time = "-" if limit_s is None else f"{within / len(seen):.0%}"
        return f"{len(latency_s) / elapsed_s:.1f}/s", p50, p99, in_time, spark


def sparkline(latency_s: Iterable[float], slowest_s: float) -> str:
    """Latencies as blocks, the tallest one for the slowest that was seen so far.

    >>> sparkline([0.0, 0.5, 1.0], 1.0)
    '▁▅█'
    """
    if slowest_s <= 0.0:
        return ""
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[min(top, round(one / slowest_s * top))] for one in latency_s)
