"""Windows of one mix go in; two that saw the same machine come out, if there are any.

A machine that others share changes under a measurement, and what is to be judged is the forecast.
Three things have to say that a window and its forecast, and two windows, saw the same machine:
every task, asked alone after the window, takes as long as the forecast takes it to; the mean
service times of critical tasks in the two windows are alike, since those of best-effort tasks
contain what they were held back; and the latencies of all, which the luck of arrivals moves as
well, differ by no more than a few times as much. Triton's perf_analyzer, too, measures until
windows agree in latency. What is forecast of the mix is never looked at.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cotenant.bench.accuracy import measured
from cotenant.bench.records import Line, Observation, Phase, Unsteady
from cotenant.core.record import Outcome

WINDOWS = 2
"""Of a mix, that count."""
_LUCK = 3.0
"""How many times more than their service times the latencies of two windows may differ."""


class Limits(NamedTuple):
    """What is taken for the same machine."""

    steady: float = 0.15
    """How far the machine's speed may change from the forecast to a window's end, as a fraction."""
    alike: float = 0.08
    """How far the service times in two windows may differ, as a fraction."""

    def holds(self, change: float) -> bool:
        """Whether the machine is still that of the forecast."""
        return abs(change - 1.0) <= self.steady


class Window(NamedTuple):
    """What was measured, and what the machine did meanwhile."""

    lines: Sequence[Line]
    uninterrupted: frozenset[str]
    """Tasks whose services no other task interrupts."""

    @property
    def phase(self) -> Phase:
        [phase] = [one for one in self.lines if isinstance(one, Phase)]
        return phase

    @property
    def change(self) -> float:
        """Time that the tasks take alone after it, over that which the forecast takes them to take;
        not a number, and so never steady, if nobody has looked."""
        return math.nan if self.phase.change is None else self.phase.change

    @property
    def latencies_s(self) -> Mapping[str, Sequence[float]]:
        """Of the answers to what was due in the window, by task; tasks without any are left out."""
        start_s = self.phase.start_s
        found: dict[str, list[float]] = {}
        for one in self.lines:
            if (
                isinstance(one, Observation)
                and one.scheduled_s >= start_s
                and one.outcome is Outcome.OK
            ):
                found.setdefault(one.task, []).append(one.latency_s)
        return found

    @property
    def latency_s(self) -> Mapping[str, float]:
        """Means."""
        return {task: float(np.mean(seen_s)) for task, seen_s in self.latencies_s.items()}

    @property
    def service_s(self) -> Mapping[str, float]:
        """Means of what nothing interrupts: inside of the model, or at the client where the server
        keeps no count."""
        known_s = self.phase.service_s
        return {
            task: known_s.get(task, seen_s)
            for task, seen_s in self.latency_s.items()
            if task in self.uninterrupted
        }


def agreeing(windows: Sequence[Window], limits: Limits) -> tuple[Window, ...] | None:
    """Two windows under the machine of the forecast that say the same of it."""
    steady = [one for one in windows if limits.holds(one.change)]
    if len(steady) < WINDOWS:
        return None
    pair = closest(steady)
    return pair if _difference(*pair) <= limits.alike else None


def closest(windows: Sequence[Window]) -> tuple[Window, ...]:
    """The two windows that differ least."""
    pairs = itertools.combinations(windows, WINDOWS)
    return min(pairs, key=lambda pair: _difference(*pair), default=tuple(windows))


def unsteady(window: Window, kept: bool) -> Unsteady:
    """What is written down of a window that was measured on a machine that changed."""
    phase = window.phase
    return Unsteady(
        phase.scenario,
        phase.policy,
        phase.round,
        start_s=phase.start_s,
        change=window.change,
        kept=kept,
        figures={
            task: measured(np.array(seen_s))._asdict()
            for task, seen_s in window.latencies_s.items()
        },
    )


def _difference(one: Window, other: Window) -> float:
    return max(
        _apart(one.service_s, other.service_s), _apart(one.latency_s, other.latency_s) / _LUCK
    )


def _apart(first_s: Mapping[str, float], second_s: Mapping[str, float]) -> float:
    """The geometric mean over tasks of the ratios, less 1."""
    ratios = [second_s[task] / first_s[task] for task in first_s if task in second_s]
    return abs(float(np.expm1(np.mean(np.log(ratios))))) if ratios else np.inf
