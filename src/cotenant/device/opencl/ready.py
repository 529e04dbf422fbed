"""A bundle on the device goes in; its kernels, made ready and timed alone, come out as views.

A driver may compile a kernel only at its first launch, so each form that will be asked for is
launched once before anybody waits for it.
"""

import statistics

import numpy as np
import pyopencl as cl

from cotenant.device.bundle import Array
from cotenant.device.opencl.board import Board
from cotenant.device.opencl.launch import launch_plain, launch_preemptive, launch_static
from cotenant.device.opencl.pause import PauseWord
from cotenant.device.opencl.place import Place
from cotenant.device.opencl.resident import Resident, Step
from cotenant.device.sharing import Form, KernelView

_TIMED = 3
"""Launches whose median is the kernel's time alone."""
_CALM_S = 0.005


def views(
    resident: Resident, place: Place, board: Board, never: PauseWord, forms: frozenset[Form]
) -> tuple[KernelView, ...]:
    """One view for each step.

    Args:
        place: with a queue that takes times.
        board: nothing is launched here while critical work is on the device.
        never: a pause word that nobody sets.
        forms: those that are needed beside the plain one.
    """
    zeros: dict[str, Array] = {
        spec.name: np.zeros(spec.shape, spec.dtype) for spec in resident.inputs
    }
    cl.wait_for_events(resident.feed(place.queue, zeros))
    resident.rewind(place.queue)
    known: dict[str, KernelView] = {}
    for step in resident.steps:
        if step.name not in known:
            _make_ready(step, place, board, never, forms)
            known[step.name] = _view(step, place, board)
    return tuple(known[step.name] for step in resident.steps)


def _make_ready(
    step: Step, place: Place, board: Board, never: PauseWord, forms: frozenset[Form]
) -> None:
    if step.kernel.static is None:
        return
    width = min(place.width, step.kernel.tiles)
    if Form.STATIC in forms:
        _calm(board)
        tiles = range(step.kernel.tiles)
        launch_static(place, step.kernel, step.arguments, tiles, width).wait()
    if Form.PREEMPTIVE in forms:
        _calm(board)
        launch_preemptive(
            place,
            step.kernel,
            step.arguments,
            progress=step.progress,
            pause=never.buffer,
            width=width,
        ).wait()


def _view(step: Step, place: Place, board: Board) -> KernelView:
    _calm(board)
    launch_plain(place, step.kernel, step.arguments).wait()
    times_s = []
    for _ in range(_TIMED):
        _calm(board)
        event = launch_plain(place, step.kernel, step.arguments)
        event.wait()
        times_s.append((event.profile.end - event.profile.start) * 1e-9)
    x, y, z = step.kernel.block
    return KernelView(
        name=step.name,
        tiles=step.kernel.tiles,
        threads=x * y * z,
        elastic=step.kernel.static is not None,
        alone_s=statistics.median(times_s),
        memory_bound=None,
    )


def _calm(board: Board) -> None:
    """Loading a model is nobody's urgent concern."""
    while board.busy:
        board.rest(_CALM_S)
