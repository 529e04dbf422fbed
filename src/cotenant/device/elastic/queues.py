"""A device goes in; the queues that its sides and its loader launch through come out."""

from collections.abc import Callable
from typing import NamedTuple

from cotenant.device.elastic.driver import Priority
from cotenant.device.elastic.place import Place, side_queues


class Queues(NamedTuple):
    """The same device, for each that uses it, with a queue of its own."""

    critical: Place
    best_effort: Callable[[], Place]
    """One for each side, with a queue of its own; on a processor it takes times."""
    loading: Place
    """Its queue takes times."""


def open_queues(place: Place, critical_first: bool) -> Queues:
    """Queues of different priority where they are wanted and the device has them."""
    device = place.device
    high = Priority.HIGH if critical_first else Priority.ORDINARY
    low = Priority.LOW if critical_first else Priority.ORDINARY
    sides = tuple(device.queue(high) for _ in range(side_queues(device)))
    return Queues(
        place._replace(queue=device.queue(high), sides=sides),
        lambda: place._replace(queue=device.queue(low, timed=device.processor)),
        place._replace(queue=device.queue(timed=True)),
    )
