"""A kernel's static form goes in; its time, and what it costs a neighbour, by width, comes out.

The neighbour is the background load, which stands for a critical kernel that nobody knows: it
is queued as critical work is, several launches at once, in a queue of the highest priority that
the driver knows. Beside it the static form is launched again and again, in one of the lowest, as
best-effort work is. Shards are cut as a rule cuts them: over in about the time of one launch of
the neighbour's, so that a device that runs kernels in turns is not charged for long ones that
the rule would never start.

A kernel that is over before the host can queue its successor leaves gaps, here as at run time,
and costs that much less.
"""

import statistics
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cotenant.device.elastic.background import Background
from cotenant.device.elastic.driver import Buffer, Event, Priority
from cotenant.device.elastic.launch import Forms, launch_static
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.sampling import (
    LAUNCHES_MAX,
    Launch,
    alone_s,
    beside_s,
    in_turn_s,
    launches_for,
    once_s,
    ratios,
)
from cotenant.device.tuning import Width


class Padding(NamedTuple):
    """Shards of one width that follow each other."""

    launch: Launch
    ahead: int
    """How many stand in the queue, the one that runs included."""


class Neighbour:
    """The background load in the place of critical work, and the queue of what pads it."""

    def __init__(self, place: Place, load: Background) -> None:
        self._load = load
        self._launches = launches_for(load.once_s)
        self._critical = place.device.queue(Priority.HIGH, timed=True)
        self._best_effort = place._replace(queue=place.device.queue(Priority.LOW))
        load.launch(self._critical).wait()

    def padding(
        self, kernel: Forms, arguments: Sequence[Buffer], width: int, static_s: float
    ) -> Padding:
        """Shards that are over with a launch of the load, and how many last as long as that.

        Args:
            static_s: time of all tiles at this width.
        """
        turns = -(-kernel.tiles // width)
        turn_s = max(static_s, 1e-9) / turns
        taken = int(np.clip(self._load.once_s // turn_s, 1, turns))
        tiles = range(min(kernel.tiles, taken * width))
        behind = int(np.clip(np.ceil(self._load.once_s / (taken * turn_s)), 1, LAUNCHES_MAX))

        def launch() -> Event:
            place = self._best_effort
            event = launch_static(place, kernel, arguments, tiles, width)
            place.queue.flush()
            return event

        return Padding(launch, 1 + behind)

    def alone_s(self) -> float:
        """Time of one launch of the load, with nothing beside it."""
        return beside_s(self._critical, self._launch, self._launches)

    def beside_s(self, padding: Padding) -> float:
        """The same, with shards on the device from before the first launch to the last one's end.

        Whoever waits sleeps: the device may be the processor that this runs on.
        """
        shards = deque(padding.launch() for _ in range(padding.ahead))
        shards.popleft().wait()  # and so the next one runs, or is about to
        shards.append(padding.launch())
        loads = [self._launch() for _ in range(self._launches)]
        while not loads[-1].ended:
            shards.popleft().wait()
            shards.append(padding.launch())
        self._best_effort.queue.finish()
        self._critical.finish()
        return in_turn_s(loads)

    def _launch(self) -> Event:
        return self._load.launch(self._critical)


def padded_widths(
    place: Place,
    kernel: Forms,
    arguments: Sequence[Buffer],
    neighbour: Neighbour,
    draws: tuple[int, np.random.Generator],
) -> tuple[Width, ...]:
    """What the static form takes and costs on 1, 2, 4, ... blocks, up to what fills the device.

    In each round everything is measured once, in an order drawn anew, the neighbour alone
    included. A cost is the median of the rounds' ratios, and stays as it was measured: one
    under nought says how far the others may be off.

    Args:
        place: with a queue that takes times.
        draws: how many rounds, and what draws their orders.
    """
    if kernel.static is None:
        return ()
    rounds, rng = draws
    forms = {width: _narrow(place, kernel, arguments, width) for width in _widths(place, kernel)}
    times_s = {width: once_s(launch) for width, launch in forms.items()}
    paddings = {
        width: neighbour.padding(kernel, arguments, width, times_s[width]) for width in forms
    }
    found_s: dict[int, list[float]] = {width: [] for width in forms}
    load_beside_s: dict[int, list[float]] = {width: [] for width in forms}
    load_alone_s: list[float] = []
    widths = list(forms)
    for _ in range(rounds):
        for number in rng.permutation(len(widths) + 1):
            if number == len(widths):
                load_alone_s.append(neighbour.alone_s())
                continue
            width = widths[number]
            launches = launches_for(times_s[width])
            found_s[width].append(alone_s(place.queue, forms[width], launches))
            load_beside_s[width].append(neighbour.beside_s(paddings[width]))
    return tuple(
        Width(
            width=width,
            static_s=statistics.median(found_s[width]),
            cost=statistics.median(ratios(load_beside_s[width], load_alone_s)) - 1.0,
        )
        for width in widths
    )


def _widths(place: Place, kernel: Forms) -> list[int]:
    most = min(place.width, kernel.tiles)
    return [*(1 << n for n in range(most.bit_length()) if 1 << n < most), most]


def _narrow(place: Place, kernel: Forms, arguments: Sequence[Buffer], width: int) -> Launch:
    return lambda: launch_static(place, kernel, arguments, range(kernel.tiles), width)
