"""An opened device goes in; the queues through which one inference uses it come out with it."""

from typing import NamedTuple

from cotenant.device.bundle import Code
from cotenant.device.elastic.driver import Accelerator, Queue
from cotenant.device.tuning import Here

SIDE_QUEUES = 3
"""With the first one as many as the widest modules of the zoo have branches."""


class Place(NamedTuple):
    """One device, as an inference uses it."""

    device: Accelerator
    queue: Queue
    sides: tuple[Queue, ...] = ()
    """Further queues, for steps of one stage; none where that brings nothing."""

    @property
    def name(self) -> str:
        return self.device.name

    @property
    def here(self) -> Here:
        """What a tuning table made on this device says of it."""
        return self.device.here

    @property
    def width(self) -> int:
        """As many physical blocks fill the device at least once."""
        return self.device.width


def place_on(device: Accelerator) -> Place:
    """A place with one queue."""
    return Place(device, device.queue())


def with_sides(place: Place, count: int) -> Place:
    """The same place with so many side queues."""
    return place._replace(sides=tuple(place.device.queue() for _ in range(count)))


def side_queues(device: Accelerator) -> int:
    """How many queues beside the first one let steps of one stage run at the same time.

    A graphics processor runs kernels of several queues at once, and a small kernel leaves most
    of it idle. On a processor each kernel is spread over all cores, so there is nothing to fill.
    """
    return 0 if device.processor else SIDE_QUEUES


_ELASTIC = ("#ifndef cotenant_axis", "#define blockIdx cotenant_block")
"""With one of these begins what the elastic transformation adds to a kernel."""


def plain_part(code: Code) -> Code:
    """A kernel's source without its elastic forms, which the compiler wrote behind it."""
    source = code.source
    for line in _ELASTIC:
        source = source.partition(line)[0]
    return Code(source, None)
