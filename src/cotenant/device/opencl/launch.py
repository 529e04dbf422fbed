"""A kernel with its arguments goes in; one launch of it comes out, in any of its three forms."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyopencl as cl

from cotenant.core.errors import DeviceError
from cotenant.device.bundle import Triple
from cotenant.device.opencl.place import Place


class Forms(NamedTuple):
    """A built kernel in the forms that it has."""

    plain: cl.Kernel
    static: cl.Kernel | None
    """`None` for a kernel that could not be transformed; so is the next."""
    preemptive: cl.Kernel | None
    grid: Triple
    block: Triple

    @property
    def tiles(self) -> int:
        x, y, z = self.grid
        return x * y * z


def forms(program: cl.Program, name: str, grid: Triple, block: Triple, elastic: bool) -> Forms:
    """The kernels of a built program that belong to kernel `name`."""
    return Forms(
        cl.Kernel(program, name),
        cl.Kernel(program, f"{name}_static") if elastic else None,
        cl.Kernel(program, f"{name}_preemptive") if elastic else None,
        grid,
        block,
    )


def launch_plain(
    place: Place,
    kernel: Forms,
    arguments: Sequence[cl.Buffer],
    behind: Sequence[cl.Event] = (),
) -> cl.Event:
    """The kernel as it was compiled: all blocks, in the device's order.

    Args:
        behind: events of other queues that it waits for.
    """
    size = tuple(
        blocks * threads for blocks, threads in zip(kernel.grid, kernel.block, strict=True)
    )
    kernel.plain.set_args(*arguments)
    return cl.enqueue_nd_range_kernel(
        place.queue, kernel.plain, size, kernel.block, wait_for=behind or None
    )


def launch_static(
    place: Place,
    kernel: Forms,
    arguments: Sequence[cl.Buffer],
    tiles: range,
    width: int,
) -> cl.Event:
    """Tiles of a range, on `width` physical blocks."""
    ends = (np.uint32(tiles.start), np.uint32(tiles.stop))
    return _launch(place, kernel, kernel.static, (*arguments, *ends), width)


def launch_preemptive(
    place: Place,
    kernel: Forms,
    arguments: Sequence[cl.Buffer],
    *,
    progress: cl.Buffer,
    pause: cl.Buffer,
    width: int,
    end: int | None = None,
) -> cl.Event:
    """Tiles from where `progress` stands, until `end` (or all) or until `pause` is set."""
    extra = (progress, pause, np.uint32(kernel.tiles if end is None else end))
    return _launch(place, kernel, kernel.preemptive, (*arguments, *extra), width)


def _launch(
    place: Place,
    kernel: Forms,
    form: cl.Kernel | None,
    arguments: Sequence[cl.Buffer | np.uint32],
    width: int,
) -> cl.Event:
    if form is None:
        raise DeviceError(
            f"kernel {kernel.plain.function_name!r} has no elastic form; launch it plain"
        )
    x, y, z = kernel.block
    form.set_args(*arguments, *map(np.uint32, kernel.grid))
    return cl.enqueue_nd_range_kernel(place.queue, form, (x * width, y, z), (x, y, z))
