"""A device goes in; the queues that its two sides and its loader launch through come out."""

from typing import Any, NamedTuple

import pyopencl as cl

from cotenant.device.opencl.place import Place

_PRIORITY_KHR = 0x1096
_HIGH, _LOW = 1 << 0, 1 << 2
"""Values of the extension cl_khr_priority_hints."""


SIDE_QUEUES = 3
"""With the first one as many as the widest modules of the zoo have branches."""


class Queues(NamedTuple):
    """The same device, three times, each with a queue of its own."""

    critical: Place
    best_effort: Place
    loading: Place
    """Its queue takes times."""


def open_queues(place: Place, critical_first: bool) -> Queues:
    """Queues of different priority where they are wanted and the device has them."""
    ranked = critical_first and "cl_khr_priority_hints" in place.device.extensions.split()
    profiling = cl.command_queue_properties.PROFILING_ENABLE

    def critical() -> cl.CommandQueue:
        return _ranked(place, _HIGH) if ranked else _plain(place)

    return Queues(
        place._replace(
            queue=critical(), sides=tuple(critical() for _ in range(side_queues(place.device)))
        ),
        place._replace(queue=_ranked(place, _LOW) if ranked else _plain(place)),
        place._replace(queue=cl.CommandQueue(place.context, properties=profiling)),
    )


def side_queues(device: cl.Device) -> int:
    """How many queues beside the first one let steps of one stage run at the same time.

    A graphics processor runs kernels of several queues at once, and a small kernel leaves most
    of it idle. On a processor each kernel is spread over all cores, so there is nothing to fill.
    """
    return 0 if device.type & cl.device_type.CPU else SIDE_QUEUES


def with_sides(place: Place, count: int) -> Place:
    """The same place with so many side queues."""
    return place._replace(sides=tuple(_plain(place) for _ in range(count)))


def _plain(place: Place) -> cl.CommandQueue:
    return cl.CommandQueue(place.context)


def _ranked(place: Place, priority: int) -> cl.CommandQueue:
    properties: Any = [_PRIORITY_KHR, priority]  # the package's types know of no list
    return cl.CommandQueue(place.context, place.device, properties)
