"""Views of a device and its kernels go in; blocks, tiles and seconds that fit come out.

What several rules ask for stands here once. All of it is arithmetic on what is known before a
launch; where a time is not known, the answer is that nothing fits.
"""

import math

from cotenant.device.sharing import DeviceView, Form, KernelView, Moment, Shard


def resident(device: DeviceView, kernel: KernelView) -> int:
    """Blocks of the kernel that one unit holds at a time, as far as threads and slots decide it.

    >>> kernel = KernelView("k", 64, 128, True, None, None)
    >>> resident(DeviceView(4, 1024), kernel), resident(DeviceView(4, 1024, 1), kernel)
    (8, 1)
    """
    most = max(1, device.unit_threads // max(1, kernel.threads))
    return most if device.unit_blocks is None else min(most, device.unit_blocks)


def full_width(moment: Moment) -> int:
    """Physical blocks that fill the device, or as many as there are tiles left."""
    slots = moment.device.units * resident(moment.device, moment.kernel)
    return min(slots, moment.kernel.tiles - moment.done)


def idle_units(device: DeviceView, critical: KernelView) -> int:
    """Units on which the critical kernel has no block from its start to its end.

    >>> kernel = KernelView("k", 5, 128, True, None, None)
    >>> idle_units(DeviceView(8, 1024), kernel), idle_units(DeviceView(4, 1024), kernel)
    (3, 0)
    """
    return max(0, device.units - critical.tiles)


def wave_s(device: DeviceView, kernel: KernelView) -> float | None:
    """Time of one tile: the kernel's own over its waves; `None` while that is unknown.

    A device of U units, each with room for r blocks, runs T tiles in ceil(T / (U r)) waves.
    Beside less of its own kind a tile takes less time, so this is the longest it should take.

    >>> wave_s(DeviceView(4, 1024), KernelView("k", 64, 128, True, 0.004, None))
    0.002
    """
    if kernel.alone_s is None:
        return None
    return kernel.alone_s / math.ceil(kernel.tiles / (device.units * resident(device, kernel)))


def tiles_within(moment: Moment, width: int, time_s: float) -> int:
    """Tiles of what is left that `width` physical blocks complete in the time.

    >>> kernel = KernelView("k", 64, 128, True, 0.004, None)
    >>> now = Moment(DeviceView(4, 1024), kernel, 60, None, None, None, 0, 4)
    >>> tiles_within(now, 2, 0.003), tiles_within(now, 2, 0.001), tiles_within(now, 8, 0.003)
    (2, 0, 4)
    """
    tile_s = wave_s(moment.device, moment.kernel)
    if tile_s is None or time_s < tile_s:
        return 0
    left = moment.kernel.tiles - moment.done
    # A kernel so short that a clock does not see it fits anywhere.
    turns = math.floor(time_s / tile_s) if tile_s > 0.0 else left
    return min(left, turns * width)


def plain(moment: Moment) -> Shard:
    """The kernel as it was compiled; for rules that ask for nothing else, so never begin one."""
    return Shard(Form.PLAIN, moment.kernel.tiles - moment.done, full_width(moment))


def whole(moment: Moment) -> Shard:
    """All that is left in one launch that nothing holds back: as compiled, where it can be.

    A plain launch starts from the first tile, so what was begun is completed in static form.
    """
    shard = plain(moment)
    return shard._replace(form=Form.STATIC) if moment.done and moment.kernel.elastic else shard
