"""What queues one launch goes in; its time, over as many launches as a clock sees, comes out."""

from collections.abc import Callable, Sequence

import numpy as np

from cotenant.device.elastic.driver import Event, Queue

LAUNCHES_MAX = 32
"""More are not queued at once."""
_SAMPLE_S = 2e-3
"""Shorter kernels are launched several times for one sample."""

Launch = Callable[[], Event]
"""Queues something once, in a queue that takes times."""


def once_s(launch: Launch) -> float:
    """Time of one launch; the first ones are warm-up, and a driver may compile there."""
    launch().wait()
    event = launch()
    event.wait()
    return event.lasted_s


def launches_for(once_s: float) -> int:
    """How many make a sample."""
    return int(np.clip(np.ceil(_SAMPLE_S / max(once_s, 1e-9)), 1, LAUNCHES_MAX))


def alone_s(queue: Queue, launch: Launch, launches: int) -> float:
    """Mean time on the device of one launch."""
    return mean_s(queue, [launch() for _ in range(launches)])


def mean_s(queue: Queue, events: Sequence[Event]) -> float:
    """The same, of launches that stand in the queue."""
    queue.finish()
    return sum(one.lasted_s for one in events) / len(events)


def beside_s(queue: Queue, launch: Launch, launches: int) -> float:
    """Mean time that one launch takes of the queue, waiting for its turn included."""
    events = [launch() for _ in range(launches)]
    queue.finish()
    return in_turn_s(events)


def in_turn_s(events: Sequence[Event]) -> float:
    """The same, of launches that stood in one queue behind each other and have ended."""
    return events[-1].since_s(events[0]) / len(events)


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Round by round: what disturbs one of them disturbs the other."""
    return [a / max(b, 1e-12) for a, b in zip(one, other, strict=True)]
