"""Service times with best-effort work free and held back, in turn, go in; a verdict comes out.

A machine that is slow for a while, because of its host or its heat, makes critical work slow,
too; starving best-effort work then costs throughput and helps nobody. So the guard tries before
it believes: short stretches of both kinds take turns, and what counts is the difference between
them. Their order is that of Thue and Morse (free, held, held, free, held, free, free, held, ...),
in which a steady drift of the machine cancels out, and so does one that bends.
"""

from enum import Enum
from statistics import median


class Verdict(Enum):
    """What a trial has found."""

    RELIEF = "best-effort work is the cause"
    NO_RELIEF = "the cause lies elsewhere"
    OVER = "critical work is within its bound by itself"


_HELD = tuple(number.bit_count() % 2 == 1 for number in range(16))
STRETCH = 4
"""Requests between two changes; the first one behind a change does not count."""
TRIAL = STRETCH * len(_HELD)
"""Requests of a trial that goes to its end."""
_LOOK = TRIAL // 4
"""How often to see whether it is worth going on."""
_ENOUGH = 0.4
"""Part of the excess that has to go while best-effort work is held back."""
_HOPELESS = 0.25
"""Part of the excess under which the trial ends at a look."""


class Trial:
    """One for a component at a time, on behalf of one critical task."""

    def __init__(
        self,
        task: str,
        free_step: int,
        held_step: int,
        *,
        alone_s: float,
        bound: float,
        now_s: float,
    ) -> None:
        """Two steps of the guard's ladder; `alone_s` is the median service time alone."""
        self.task = task
        self.free_step = free_step
        self.held_step = held_step
        self.heard_s = now_s
        """When its task was last heard of."""
        self._alone_s = alone_s
        self._bound = bound
        self._seen = 0
        self._times_s: dict[bool, list[float]] = {False: [], True: []}

    def again(self, free_step: int, held_step: int, now_s: float) -> "Trial":
        """A new trial of two other steps, on behalf of the same task."""
        return Trial(
            self.task, free_step, held_step, alone_s=self._alone_s, bound=self._bound, now_s=now_s
        )

    @property
    def step(self) -> int:
        """The one that applies now."""
        return self.held_step if self._held else self.free_step

    @property
    def _held(self) -> bool:
        return _HELD[self._seen // STRETCH]

    def observe(self, service_s: float, now_s: float) -> Verdict | None:
        """Add a request that was served beside best-effort work; `None` while it goes on."""
        self.heard_s = now_s
        stretch, place = divmod(self._seen, STRETCH)
        changed = stretch > 0 and _HELD[stretch] is not _HELD[stretch - 1]
        if place or not changed:
            self._times_s[self._held].append(service_s)
        self._seen += 1
        return self._verdict() if self._seen % _LOOK == 0 else None

    def _verdict(self) -> Verdict | None:
        free_s, held_s = median(self._times_s[False]), median(self._times_s[True])
        excess_s = free_s - self._alone_s
        relieved_s = free_s - held_s
        if self._seen < TRIAL:
            return Verdict.NO_RELIEF if relieved_s < _HOPELESS * excess_s else None
        if free_s <= self._bound * self._alone_s:
            return Verdict.OVER
        return Verdict.RELIEF if relieved_s >= _ENOUGH * excess_s else Verdict.NO_RELIEF
