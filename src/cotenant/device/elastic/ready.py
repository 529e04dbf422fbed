"""A bundle on the device goes in; its kernels, made ready and timed alone, come out as views.

A driver may compile a kernel only at its first launch, so each form that will be asked for is
launched once before anybody waits for it.
"""

import statistics
from collections.abc import Callable

import numpy as np

from cotenant.device.bundle import Array
from cotenant.device.elastic.driver import wait_for
from cotenant.device.elastic.launch import launch_plain, launch_preemptive, launch_static
from cotenant.device.elastic.pause import PauseWord
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.resident import Resident, Step
from cotenant.device.sharing import Form, KernelView

_TIMED = 3
"""Launches whose median is the kernel's time alone."""
_COPIED_BYTES = 1 << 24
_BOUND = 0.4
"""Part of the bandwidth of a copy from which on memory traffic counts as a kernel's limit."""


def make_ready(
    resident: Resident,
    place: Place,
    forms: frozenset[Form],
    calm: Callable[[], object] = lambda: None,
) -> None:
    """Launch each kernel once, plain and in these forms.

    Args:
        calm: returns when the device may be used for this.
    """
    zeros: dict[str, Array] = {
        spec.name: np.zeros(spec.shape, spec.dtype) for spec in resident.inputs
    }
    wait_for(resident.feed(place.queue, zeros))
    wait_for(resident.fetch(place.queue)[1])  # a driver may get memory for the first copy
    resident.rewind(place.queue)
    never = PauseWord(place)
    for step in {step.name: step for step in resident.steps}.values():
        calm()
        launch_plain(place, step.kernel, step.arguments).wait()
        if step.kernel.static is None:
            continue
        width = min(place.width, step.kernel.tiles)
        if Form.STATIC in forms:
            # Shards are of any size. PoCL compiles for small grids apart, unless it holds what it
            # has made for large ones; when it has let go of that, the next shard would compile.
            for tiles in (range(1), range(step.kernel.tiles)):
                calm()
                launch_static(place, step.kernel, step.arguments, tiles, width).wait()
        if Form.PREEMPTIVE in forms:
            calm()
            launch_preemptive(
                place,
                step.kernel,
                step.arguments,
                progress=step.progress,
                pause=never.buffer,
                width=width,
            ).wait()


def bandwidth(place: Place) -> float:
    """Bytes a second that a copy on the device reads and writes.

    Args:
        place: with a queue that takes times.
    """
    source, target = (place.device.buffer(_COPIED_BYTES) for _ in range(2))
    place.queue.fill(source, 0, _COPIED_BYTES)
    times_s = []
    for _ in range(_TIMED + 1):  # the first one touches the memory
        event = place.queue.copy(target, source)
        event.wait()
        times_s.append(event.lasted_s)
    return 2 * _COPIED_BYTES / max(1e-9, min(times_s))


def views(
    resident: Resident, place: Place, bandwidth: float, calm: Callable[[], object]
) -> tuple[KernelView, ...]:
    """One view for each step of a bundle that was made ready.

    Args:
        place: with a queue that takes times.
        bandwidth: of the device, in bytes a second.
        calm: returns when the device may be used for this.
    """
    known: dict[str, KernelView] = {}
    for step in resident.steps:
        if step.name not in known:
            known[step.name] = _view(step, place, bandwidth, calm)
    return tuple(known[step.name] for step in resident.steps)


def _view(step: Step, place: Place, bandwidth: float, calm: Callable[[], object]) -> KernelView:
    times_s = []
    for _ in range(_TIMED):
        calm()
        event = launch_plain(place, step.kernel, step.arguments)
        event.wait()
        times_s.append(event.lasted_s)
    x, y, z = step.kernel.block
    alone_s = statistics.median(times_s)
    # Every argument is read or written at least once; a kernel that does so more often, past
    # the caches, is taken for less bound by memory than it is.
    traffic = sum(argument.size for argument in step.arguments)
    return KernelView(
        name=step.name,
        tiles=step.kernel.tiles,
        threads=x * y * z,
        elastic=step.kernel.static is not None,
        alone_s=alone_s,
        memory_bound=traffic >= _BOUND * bandwidth * alone_s,
        costs=step.costs,
    )
