"""A kernel with its arguments goes in; one launch of it comes out, in any of its three forms."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cotenant.core.errors import DeviceError
from cotenant.device.bundle import Triple
from cotenant.device.elastic.driver import Argument, Buffer, Event, Kernel, Program
from cotenant.device.elastic.place import Place

_CLAIM_S = 2e-5


class Forms(NamedTuple):
    """A built kernel in the forms that it has."""

    plain: Kernel
    static: Kernel | None
    """`None` for a kernel that could not be transformed; so is the next."""
    preemptive: Kernel | None
    grid: Triple
    block: Triple

    @property
    def tiles(self) -> int:
        x, y, z = self.grid
        return x * y * z


def forms(
    program: Program,
    name: str,
    grid: Triple,
    block: Triple,
    elastic: bool,
    *,
    shared_bytes: int = 0,
) -> Forms:
    """The kernels of a built program that belong to kernel `name`."""
    return Forms(
        program.kernel(name, shared_bytes),
        program.kernel(f"{name}_static", shared_bytes) if elastic else None,
        program.kernel(f"{name}_preemptive", shared_bytes) if elastic else None,
        grid,
        block,
    )


def launch_plain(
    place: Place,
    kernel: Forms,
    arguments: Sequence[Argument],
    behind: Sequence[Event] = (),
) -> Event:
    """The kernel as it was compiled: all blocks, in the device's order.

    Args:
        behind: events of other queues that it waits for.
    """
    return place.queue.launch(kernel.plain, kernel.grid, kernel.block, arguments, behind)


def launch_static(
    place: Place,
    kernel: Forms,
    arguments: Sequence[Argument],
    tiles: range,
    width: int,
) -> Event:
    """Tiles of a range, on at most `width` physical blocks.

    On as few as do it in as many turns: where some blocks had one tile more than others, those
    that share a unit with them would be waited for. Where all of a processor's cores may be used,
    each tile is a block: no more of them run at a time, and the kernel needs no loop.
    """
    if place.device.processor and width >= place.width:
        width = len(tiles)
    ends = (np.uint32(tiles.start), np.uint32(tiles.stop))
    return _launch(place, kernel, kernel.static, (*arguments, *ends), balanced(len(tiles), width))


def claim_for(tiles: int, width: int, alone_s: float | None) -> int:
    """Tiles that a block of the preemptive form takes at a time, so that claims cost little.

    A claim is a look at the pause word, an atomic addition and two barriers: some 1 us on a GPU.
    Who pauses waits for what was claimed, so it is to last about 20 us.

    >>> claim_for(100_000, 1000, 0.0002), claim_for(100, 50, 0.0002), claim_for(100, 50, None)
    (10, 1, 1)
    >>> claim_for(100, 50, 1e-5)  # it is all over by then
    2
    """
    if alone_s is None:
        return 1
    turns = -(-tiles // max(1, width))
    return max(1, min(turns, int(_CLAIM_S * turns / max(alone_s, 1e-9))))


def balanced(tiles: int, width: int) -> int:
    """The least width with as many turns, and so as long for equal tiles.

    >>> balanced(12, 8), balanced(8, 8), balanced(9, 8), balanced(3, 8), balanced(0, 8)
    (6, 8, 5, 3, 1)
    """
    turns = max(1, -(-tiles // max(1, width)))
    return max(1, -(-tiles // turns))


def launch_preemptive(
    place: Place,
    kernel: Forms,
    arguments: Sequence[Argument],
    *,
    progress: Buffer,
    pause: Buffer,
    width: int,
    end: int | None = None,
    claim: int = 1,
) -> Event:
    """Tiles from where `progress` stands, until `end` (or all) or until `pause` is set.

    Args:
        claim: tiles that a block takes at a time.
    """
    last = kernel.tiles if end is None else end
    extra = (progress, pause, np.uint32(last), np.uint32(claim))
    return _launch(place, kernel, kernel.preemptive, (*arguments, *extra), width)


def _launch(
    place: Place,
    kernel: Forms,
    form: Kernel | None,
    arguments: Sequence[Argument],
    width: int,
) -> Event:
    if form is None:
        raise DeviceError(f"kernel {kernel.plain.name!r} has no elastic form; launch it plain")
    sizes = map(np.uint32, kernel.grid)
    return place.queue.launch(form, (width, 1, 1), kernel.block, (*arguments, *sizes))
