"""Keeps critical latency near its own baseline: records go in, a best-effort allowance comes out.

The operating system gives critical work the cores; it does not give it the memory
bandwidth and the caches. Where the service time beside others exceeds the service time
alone by more than the task's bound, best-effort work on that component is narrowed and
then slowed; when the slowdown is within the bound again, it is widened step by step. What it
is not the cause of is not held against it: each narrowing is put on trial first (`trial.py`).
"""

from bisect import insort
from collections import deque
from dataclasses import dataclass
from functools import cache

from cotenant.core.hardware import Component
from cotenant.core.record import Record
from cotenant.core.task import Task
from cotenant.device.base import Allowance
from cotenant.runtime.trial import Trial, Verdict


@dataclass(frozen=True)
class GuardSettings:
    """How quickly the guard learns and reacts."""

    window: int = 32
    """Requests between two decisions about a task."""
    baseline: int = 256
    """Latest requests, served alone, that make the baseline."""
    baseline_least: int = 16
    """No decision before so many requests were served alone."""
    quantile: float = 0.5
    """Quantile of the service times that is compared; in a short window the tail is mere noise."""
    strikes: int = 3
    """Windows in a row over the bound before it is tried to give best-effort work less."""
    margin: float = 0.5
    """Fraction of the bound's excess under which a window counts as calm."""
    calm_windows: int = 2
    """Calm windows before best-effort work is given more."""
    quiet_s: float = 1.0
    """Without a critical request for so long, there is nothing to protect."""
    trial_quiet_s: float = 5.0
    """Without a request of its task for so long, a trial is broken off."""
    trial_steps: int = 2
    """Steps down that are tried: critical work has to feel the difference."""
    rest_windows: int = 8
    """Windows over the bound that are let pass where that has brought no relief; twice as many
    each time again."""
    rest_most: int = 128


class Guard:
    """One for the machine; each component has its own step on the ladder."""

    def __init__(self, settings: GuardSettings | None = None) -> None:
        self._settings = settings or GuardSettings()
        self._watched: dict[str, _Watched] = {}
        self._step: dict[str, int] = {}
        self._trials: dict[str, Trial] = {}
        """By component."""
        self._asked: dict[str, str] = {}
        """Who asked for the step on each component."""
        self._heard_s: dict[str, float] = {}
        """When critical work last ended on each component."""

    def allowance(self, component: Component, now_s: float) -> Allowance:
        """What best-effort work on the component may use now."""
        name, step = component.name, self._step.get(component.name, 0)
        if not step and not self._trials:
            return ladder(component.width)[0]
        if now_s > self._heard_s.get(name, now_s) + self._settings.quiet_s:
            self._trials.pop(name, None)
            return ladder(component.width)[0]
        trial = self._trials.get(name)
        if trial is not None and now_s > trial.heard_s + self._settings.trial_quiet_s:
            del self._trials[name]  # its task has gone quiet, others have not
            trial = None
        return ladder(component.width)[step if trial is None else trial.step]

    def slowdown(self, task: str) -> float | None:
        """Service time beside others over service time alone, in the last window."""
        watched = self._watched.get(task)
        return None if watched is None else watched.slowdown

    def forget(self, task: str) -> None:
        """The task is gone, and so is what was tried on its behalf."""
        self._watched.pop(task, None)
        self._trials = {name: one for name, one in self._trials.items() if one.task != task}

    def observe(self, task: Task, record: Record, *, beside: bool) -> None:
        """Learn from one served request of any task.

        `beside` is what was so at its start. What joined it later does not count: a long
        request is joined more often, and would look slow because it is long.
        """
        start_s, end_s, component = record.start_s, record.end_s, record.component
        if not record.critical or start_s is None or component is None:
            return
        self._heard_s[component] = end_s
        if record.batch != 1:
            return  # the time of a batch says nothing about the time of one request
        watched = self._watched.get(record.task)
        if watched is None:
            watched = self._watched[record.task] = _Watched(self._settings)
        if not beside:
            watched.alone(end_s - start_s)
        elif (trial := self._trials.get(component)) is not None:
            # What the others see meanwhile is of two kinds, and says nothing.
            if trial.task == record.task:
                verdict = trial.observe(end_s - start_s, end_s)
                if verdict is not None:
                    self._end_trial(component, watched, verdict, end_s)
        elif watched.beside(end_s - start_s):
            self._react(component, watched, task, end_s)

    def _end_trial(
        self, component: str, watched: "_Watched", verdict: Verdict, now_s: float
    ) -> None:
        trial = self._trials.pop(component)
        watched.strikes = 0
        if verdict is Verdict.RELIEF:
            self._step[component], self._asked[component] = trial.held_step, trial.task
            return
        step = self._step[component] = trial.free_step
        if verdict is Verdict.NO_RELIEF:
            watched.give_up()
            if step and self._asked.get(component) == trial.task:
                # Less would not help, and perhaps what was taken before no longer does.
                back = max(0, step - self._settings.trial_steps)
                self._trials[component] = trial.again(back, step, now_s)

    def _react(self, component: str, watched: "_Watched", task: Task, now_s: float) -> None:
        settings, slowdown, bound = self._settings, watched.slowdown, task.slowdown_max
        if slowdown is None:
            return
        step = self._step.get(component, 0)
        if slowdown > bound:
            watched.calm = 0
            if watched.rest:
                watched.rest -= 1
                return
            watched.strikes += 1
            if watched.strikes >= settings.strikes and step < LADDER_STEPS - 1:
                tried = min(step + settings.trial_steps, LADDER_STEPS - 1)
                self._trials[component] = Trial(
                    task.name, step, tried, alone_s=watched.alone_s, bound=bound, now_s=now_s
                )
            return
        watched.strikes = 0
        if slowdown <= 1.0 + (bound - 1.0) * settings.margin:
            watched.rest, watched.next_rest = 0, settings.rest_windows
            watched.calm += 1
            if watched.calm >= settings.calm_windows:
                watched.calm = 0
                self._step[component] = max(step - 1, 0)


_DUTIES = (0.5, 0.25, 0.1, 0.05)
LADDER_STEPS = 2 + len(_DUTIES)


@cache
def ladder(width: int) -> tuple[Allowance, ...]:
    """Allowances from everything to almost nothing: first narrower, then slower.

    >>> [(step.width, step.duty) for step in ladder(4)]
    [(4, 1.0), (2, 1.0), (1, 0.5), (1, 0.25), (1, 0.1), (1, 0.05)]
    """
    half = max(1, width // 2)
    return (
        Allowance(width, 1.0),
        Allowance(half, 1.0),
        *(Allowance(1, duty) for duty in _DUTIES),
    )


class _Watched:
    """Service times of one critical task, alone and beside others."""

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._alone_s: deque[float] = deque(maxlen=settings.baseline)
        self._window_s: list[float] = []
        self.slowdown: float | None = None
        self.strikes = 0
        self.calm = 0
        self.rest = 0
        """Windows over the bound that are still to be let pass."""
        self.next_rest = settings.rest_windows

    def give_up(self) -> None:
        """Leave best-effort work alone for a while, and for longer the next time."""
        self.rest = self.next_rest
        self.next_rest = min(2 * self.next_rest, self._settings.rest_most)

    def alone(self, service_s: float) -> None:
        self._alone_s.append(service_s)

    def beside(self, service_s: float) -> bool:
        """Add one; true when a window is complete and `slowdown` is new."""
        insort(self._window_s, service_s)
        if len(self._window_s) < self._settings.window:
            return False
        beside_s = _quantile(self._window_s, self._settings.quantile)
        self._window_s = []
        if len(self._alone_s) < self._settings.baseline_least:
            return False
        self.slowdown = beside_s / self.alone_s
        return True

    @property
    def alone_s(self) -> float:
        """The baseline; there is one as soon as there is a slowdown."""
        return _quantile(sorted(self._alone_s), self._settings.quantile)


def _quantile(ordered: list[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]
