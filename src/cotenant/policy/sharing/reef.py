"""A moment goes in; a shard that fits beside the critical kernel, in units and in time, comes out.

Source: the padding rule of REEF (OSDI 2022), in its idea, not its code: while a critical kernel
runs, best-effort blocks fill the units that it leaves over,

    width <= U - tiles(critical),   time of the shard <= time that the critical kernel has left,

so that the critical kernel's own units and its end stay as they were. With no critical work
best-effort kernels look at a flag before each block, which critical work sets when it arrives.
"""

from dataclasses import dataclass
from typing import ClassVar

from cotenant.device.sharing import Form, Moment, Shard
from cotenant.policy.sharing.room import full_width, idle_units, tiles_within, whole


@dataclass(frozen=True)
class ReefSharing:
    """See the module's text.

    >>> from cotenant.device.sharing import DeviceView, KernelView
    >>> kernel = KernelView("k", 64, 1024, True, 0.008, None)
    >>> small = KernelView("c", 5, 1024, True, 0.002, None)
    >>> now = Moment(DeviceView(8, 1024), kernel, 0, small, 0.0025, None, 0, 8)
    >>> ReefSharing().next_shard(now)  # 3 units are left over, and a tile takes 1 ms
    Shard(form=<Form.STATIC: 'static'>, tiles=6, width=3, charge_s=0.0)
    """

    pauses: bool = True
    critical_first: bool = True
    at_once: bool = True
    patience_s: float = 0.0
    forms: ClassVar[frozenset[Form]] = frozenset(Form)

    def next_shard(self, moment: Moment) -> Shard | None:
        kernel = moment.kernel
        if moment.critical is None:
            if not kernel.elastic:
                return whole(moment)
            return Shard(Form.PREEMPTIVE, kernel.tiles - moment.done, full_width(moment))
        if not kernel.elastic or moment.in_flight or moment.critical_left_s is None:
            return None
        width = idle_units(moment.device, moment.critical)
        tiles = tiles_within(moment, width, moment.critical_left_s)
        return Shard(Form.STATIC, tiles, min(width, tiles)) if tiles else None
