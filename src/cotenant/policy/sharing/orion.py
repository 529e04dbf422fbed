"""A moment goes in; the whole kernel comes out, if it is small and unlike the critical one.

Source: the gate of Orion (EuroSys 2024), in its idea: critical kernels launch at once; a
best-effort kernel launches, untransformed,

    while the critical stream is idle, or
    if  units(best-effort) <= U - units(critical)  and  one of the two is bound by memory traffic
    and the other by arithmetic,

where units(k) = min(U, ceil(tiles / blocks per unit)); and never more than so many at a time.
What bounds a kernel has to be known: an unknown profile counts as the same.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from cotenant.device.sharing import DeviceView, Form, KernelView, Moment, Shard
from cotenant.policy.sharing.room import plain, resident


@dataclass(frozen=True)
class OrionSharing:
    """See the module's text.

    >>> from cotenant.device.sharing import DeviceView, KernelView
    >>> small = KernelView("k", 8, 512, True, None, memory_bound=True)
    >>> dense = KernelView("c", 8, 512, True, None, memory_bound=False)
    >>> now = Moment(DeviceView(8, 1024), small, 0, dense, None, None, 0, 8)
    >>> OrionSharing().next_shard(now).tiles
    8
    >>> OrionSharing().next_shard(now._replace(critical=small)) is None
    True
    """

    in_flight_max: int = 2
    """Best-effort kernels on the device at a time."""
    pauses: bool = False
    critical_first: bool = True
    at_once: bool = False
    patience_s: float = 0.0
    forms: ClassVar[frozenset[Form]] = frozenset({Form.PLAIN})

    def next_shard(self, moment: Moment) -> Shard | None:
        if moment.in_flight >= self.in_flight_max:
            return None
        if moment.critical is not None and not _fits_beside(moment, moment.critical):
            return None
        return plain(moment)


def _fits_beside(moment: Moment, critical: KernelView) -> bool:
    ours, theirs = moment.kernel.memory_bound, critical.memory_bound
    if ours is None or theirs is None or ours == theirs:
        return False
    left = moment.device.units - _units(moment.device, critical)
    return _units(moment.device, moment.kernel) <= left


def _units(device: DeviceView, kernel: KernelView) -> int:
    return min(device.units, math.ceil(kernel.tiles / resident(device, kernel)))
