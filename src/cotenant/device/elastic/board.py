"""What the two sides of a device know of each other: arrivals and launches go in, moments come out.

Critical work that arrives sets the pause word before anything else. Best-effort work empties
the device, says so, and goes on as its rule tells it, as soon as the critical kernels stand in
the device's queue.
"""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from cotenant.core.clock import Clock
from cotenant.device.base import Allowance
from cotenant.device.elastic.driver import Workers
from cotenant.device.elastic.flights import Flights, Launched
from cotenant.device.elastic.foresight import Foresight
from cotenant.device.elastic.pause import PauseWord
from cotenant.device.sharing import DeviceView, KernelView, Moment


class Shared(NamedTuple):
    """What every launch on the device depends on."""

    device: DeviceView
    workers: Workers
    pauses: bool
    clock: Clock


class Board:
    """One for each device; every method may be called from any thread."""

    def __init__(self, shared: Shared) -> None:
        self._device, self._workers, self._pauses, self._clock = shared
        self._changed = threading.Condition()
        self._arriving = 0
        """Critical requests that have come and whose kernels are not yet queued."""
        self._foresights: dict[int, Foresight] = {}
        self._since_s, self._charged_s = 0.0, 0.0
        """When the critical work that is there came, and what has been charged to it since."""
        self._words: frozenset[PauseWord] = frozenset()
        """One for each best-effort side, by which it is known here."""
        self._occupied: set[PauseWord] = set()
        """Of sides whose inference has begun and not ended."""
        self._flagged_s: float | None = None
        """When best-effort work on the device was asked to stop; `None` once it has."""
        self._leaving: set[PauseWord] = set()
        """Of sides that have not yet left the device since."""
        self._flagged: Launched | None = None
        """What was first in the device's queue then ..."""
        self._free_s: float | None = None
        """... and when it ended, where that is known better than by who waits for it."""
        self.allowance = Allowance(shared.device.units, 1.0)
        self.critical = Flights(self._clock)
        self.best_effort = Flights(self._clock)

    # --- the critical side -----------------------------------------------------------------

    def expect(self, seat: int, period_s: float | None) -> None:
        """A critical task is there; its period where it is known."""
        self._foresights = {**self._foresights, seat: Foresight(period_s)}

    def forget(self, seat: int) -> None:
        self._foresights = {other: one for other, one in self._foresights.items() if other != seat}

    def arrive(self, seat: int) -> None:
        """A critical request has come: hold best-effort work."""
        with self._changed:
            if self._pauses:
                for word in self._words:
                    word.set()
                head = self.best_effort.head()
                if self._occupied and self._flagged_s is None and head is not None:
                    self._flagged_s = self._clock.now()
                    self._leaving = set(self._occupied)
                    self._flagged, self._free_s = head.launched, None
            self._workers.serve(critical=True)
            if not self.busy:
                self._since_s, self._charged_s = self._clock.now(), 0.0
            self._arriving += 1
        self._foresights[seat].arrived(self._clock.now())

    def launched(self) -> None:
        """All kernels of an arrival stand in the device's queue."""
        with self._changed:
            self._arriving -= 1
            self._changed.notify_all()

    def ended(self) -> None:
        """A critical inference has ended, or a measurement."""
        with self._changed:
            self._workers.serve(critical=self.busy)
            self._changed.notify_all()

    @contextmanager
    def timing(self) -> Iterator[None]:
        """For the time of a critical kernel alone: the device as critical work finds it."""
        with self._changed:
            self._workers.serve(critical=True)
        try:
            yield
        finally:
            self.ended()

    @property
    def busy(self) -> bool:
        """Critical work is on the device, or about to be."""
        return self._arriving > 0 or len(self.critical) > 0

    # --- the best-effort side --------------------------------------------------------------

    def join(self, word: PauseWord) -> None:
        """A side is there: while its word is set, its work has to leave the device."""
        with self._changed:
            self._words |= {word}

    def part(self, word: PauseWord) -> None:
        """The side is no longer there."""
        with self._changed:
            self._words -= {word}

    @contextmanager
    def undisturbed(self, word: PauseWord) -> Iterator[bool]:
        """No critical request comes within its block; says whether none has come before."""
        with self._changed:
            yield not word.is_set

    def occupy(self, word: PauseWord) -> None:
        """An inference of the side begins."""
        with self._changed:
            self._occupied.add(word)

    def vacate(self, word: PauseWord) -> float | None:
        """It has ended; returns what `left` does."""
        with self._changed:
            self._occupied.discard(word)
        return self.left(word)

    def wait_for_flagged(self) -> None:
        """Return when what was first in the queue at the last pause has ended.

        On a device that runs one kernel at a time nothing of best-effort work is left then: what
        stood behind will find the word set, whenever it has its turn. The device tells when that
        was: on a processor who waits may not get a core while critical work runs.

        Raises:
            DriverError: it has failed.
        """
        flagged = self._flagged
        if flagged is None:
            return
        flagged.event.wait()
        free_s = flagged.queued_s + flagged.event.since_s(flagged.event)
        with self._changed:
            if self._flagged is flagged:
                self._free_s = free_s

    def left(self, word: PauseWord) -> float | None:
        """The device is free of the side's work: the pause, if this was the last one to leave."""
        with self._changed:
            self._leaving.discard(word)
            if self._flagged_s is None or self._leaving:
                return None
            free_s = self._clock.now() if self._free_s is None else self._free_s
            pause_s, self._flagged_s = max(0.0, free_s - self._flagged_s), None
            return pause_s

    def resume(self, word: PauseWord) -> None:
        """Wait until the critical kernels are queued, and take back the pause of the side.

        Nothing of the side may be on the device: what is left of it there would go on with what
        an interrupted kernel has left incomplete. That is why each has a word of its own.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._arriving == 0)
            seen = word.take_back()
        if seen is not None:  # a critical request may come meanwhile
            seen.wait()

    def rest(self, longest_s: float) -> None:
        """Wait until critical work changes, at most so long."""
        with self._changed:
            self._changed.wait(longest_s)

    def rest_beside(self, longest_s: float) -> None:
        """Wait until critical work is gone, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self.busy, max(0.0, longest_s))

    def charge(self, delay_s: float) -> None:
        """A shard was launched that may delay critical work by so much."""
        with self._changed:
            self._charged_s += delay_s

    def idle(self, kernel: KernelView) -> Moment:
        """What a rule knows of a launch where nothing else is there, or known to come."""
        return Moment(
            self._device, kernel, 0, None, None, None, in_flight=0, width=self._device.units
        )

    def moment(self, kernel: KernelView, done: int) -> Moment:
        """What the rule may know about the next best-effort launch."""
        now_s = self._clock.now()
        head = self.critical.head()
        critical = None if head is None else head.launched.kernel
        left_s = None
        if head is not None and head.launched.kernel.alone_s is not None:
            left_s = max(0.0, head.launched.kernel.alone_s - (now_s - head.since_s))
        return Moment(
            device=self._device,
            kernel=kernel,
            done=done,
            critical=critical,
            critical_left_s=left_s,
            next_critical_s=_first_s(self._foresights, now_s),
            in_flight=len(self.best_effort),
            width=self.allowance.width,
            assured_s=_assured_s(self._foresights, now_s),
            critical_s=now_s - self._since_s if self.busy else 0.0,
            charged_s=self._charged_s,
        )


def _first_s(foresights: Mapping[int, Foresight], now_s: float) -> float | None:
    known_s = (one.next_s(now_s) for one in foresights.values())
    return min((each_s for each_s in known_s if each_s is not None), default=None)


def _assured_s(foresights: Mapping[int, Foresight], now_s: float) -> float:
    """0 where an arrival may come at any time: a period that was only learned is no promise."""
    told_s = (one.next_s(now_s) if one.told else None for one in foresights.values())
    return min((each_s or 0.0 for each_s in told_s), default=math.inf)
