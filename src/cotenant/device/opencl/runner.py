"""A bundle goes in; inferences on an OpenCL device come out: plain, narrow, or pausable.

    plain       kernels as they were compiled; for critical models
    static      every kernel on `width` physical blocks
    preemptive  the same, and `pause` empties the device at the next tile boundaries; the
                inference is then continued with `resume`, and nothing is lost or done twice

The kernels of a paused inference that still stand in the queue claim no tile, since each of
them looks at the same word first. A kernel that could not be transformed does not look, so it
is queued only when all before it is known to be complete.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyopencl as cl

from cotenant.core.errors import DeviceError, InvalidRequest
from cotenant.device.bundle import Array, Bundle, Tensor, read_bundle
from cotenant.device.opencl.launch import (
    Forms,
    forms,
    launch_plain,
    launch_preemptive,
    launch_static,
)
from cotenant.device.opencl.place import Place, build, open_place


class _Step(NamedTuple):
    kernel: Forms
    arguments: tuple[cl.Buffer, ...]
    progress: cl.Buffer


class OpenClRunner:
    """One bundle on one device; at most one inference at a time."""

    def __init__(self, bundle: Bundle, place: Place) -> None:
        """Build the kernels and put the weights in place.

        Raises:
            DeviceError: a kernel does not build, or the memory is not enough.
        """
        self._place = place
        self._manifest = bundle.manifest
        try:
            self._values = self._put(bundle)
            self._pause_word, self._pause = _shared_word(place)
            self._progress, counters = self._counters()
        except (cl.MemoryError, cl.LogicError) as error:
            need = self._manifest.arena_bytes + sum(each.nbytes for each in bundle.weights.values())
            raise DeviceError(
                f"bundle {str(bundle.folder)!r} needs {need} bytes on {place.name!r}, which "
                f"refuses: {error}; use a smaller model or another device"
            ) from error
        kernels = {
            name: forms(
                build(place, bundle.sources[name], name),
                name,
                about.grid,
                about.block,
                about.rung == "preemptive",
            )
            for name, about in self._manifest.kernels.items()
        }
        self._steps = tuple(
            _Step(kernels[step.kernel], tuple(self._values[a] for a in step.arguments), counter)
            for step, counter in zip(self._manifest.steps, counters, strict=True)
        )
        self._next = len(self._steps)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._manifest.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self._manifest.outputs

    def infer(self, inputs: Mapping[str, Array], width: int | None = None) -> dict[str, Array]:
        """A whole inference: plain, or on `width` physical blocks where it is given.

        Raises:
            InvalidRequest: an input is missing, or has another type or shape.
        """
        self._feed(inputs)
        for step in self._steps:
            if width is None or step.kernel.static is None:
                launch_plain(self._place, step.kernel, step.arguments)
            else:
                tiles = range(step.kernel.tiles)
                launch_static(self._place, step.kernel, step.arguments, tiles, width)
        return self._fetch()

    def begin(self, inputs: Mapping[str, Array]) -> None:
        """Prepare a pausable inference; `resume` starts it.

        Raises:
            InvalidRequest: an input is missing, or has another type or shape.
        """
        self._feed(inputs)
        zero = np.zeros(self._progress.size // 4, np.uint32)
        cl.enqueue_copy(self._place.queue, self._progress, zero)
        self._place.queue.finish()
        self._next = 0

    def resume(self, width: int) -> dict[str, Array] | None:
        """Run until the end or until `pause`; `None` says that it was paused.

        The pause word is cleared by `clear` alone, so that a pause that comes before is heeded.
        """
        while self._next < len(self._steps) and not self._pause_word[0]:
            self._stretch(width)
        return None if self._next < len(self._steps) else self._fetch()

    def pause(self) -> None:
        """Ask the device to stop at the next tile boundaries; may be called from any thread."""
        self._pause_word[0] = 1

    def clear(self) -> None:
        """Let `resume` go on; to be called when no `resume` runs."""
        self._pause_word[0] = 0

    def _stretch(self, width: int) -> None:
        """Queue what may run without a look in between, wait, and see how far it came."""
        first = self._next
        if self._steps[first].kernel.preemptive is None:
            step = self._steps[first]
            launch_plain(self._place, step.kernel, step.arguments).wait()
            self._next += 1
            return
        for step in self._steps[first:]:
            if step.kernel.preemptive is None:
                break
            launch_preemptive(
                self._place,
                step.kernel,
                step.arguments,
                progress=step.progress,
                pause=self._pause,
                width=width,
            )
        self._place.queue.finish()
        while self._next < len(self._steps) and self._complete(self._steps[self._next]):
            self._next += 1

    def _complete(self, step: _Step) -> bool:
        if step.kernel.preemptive is None:
            return False
        done = np.empty(1, np.uint32)
        cl.enqueue_copy(self._place.queue, done, step.progress)
        return int(done[0]) >= step.kernel.tiles

    def _put(self, bundle: Bundle) -> dict[str, cl.Buffer]:
        context, flags = self._place.context, cl.mem_flags
        values = {
            name: cl.Buffer(
                context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=np.ascontiguousarray(one)
            )
            for name, one in bundle.weights.items()
        }
        arena = cl.Buffer(context, flags.READ_WRITE, max(1, bundle.manifest.arena_bytes))
        for name, place in bundle.manifest.places.items():
            values[name] = arena.get_sub_region(place.offset_bytes, max(1, place.size_bytes))
        return values

    def _counters(self) -> tuple[cl.Buffer, list[cl.Buffer]]:
        """One counter for each step, far enough apart to be buffers of their own."""
        apart = max(4, self._place.device.mem_base_addr_align // 8)
        count = max(1, len(self._manifest.steps))
        whole = cl.Buffer(self._place.context, cl.mem_flags.READ_WRITE, apart * count)
        steps = range(len(self._manifest.steps))
        return whole, [whole.get_sub_region(apart * number, 4) for number in steps]

    def _feed(self, inputs: Mapping[str, Array]) -> None:
        for spec in self._manifest.inputs:
            if spec.name not in inputs:
                raise InvalidRequest(f"input {spec.name!r} is missing; give {_names(self.inputs)}")
            given = inputs[spec.name]
            if given.dtype.name != spec.dtype or given.shape != spec.shape:
                raise InvalidRequest(
                    f"input {spec.name!r} is {given.dtype} {list(given.shape)}; this bundle was "
                    f"compiled for {spec.dtype} {list(spec.shape)}"
                )
            cl.enqueue_copy(
                self._place.queue, self._values[spec.value], np.ascontiguousarray(given)
            )

    def _fetch(self) -> dict[str, Array]:
        answer: dict[str, Array] = {}
        for spec in self._manifest.outputs:
            answer[spec.name] = np.empty(spec.shape, spec.dtype)
            cl.enqueue_copy(self._place.queue, answer[spec.name], self._values[spec.value])
        return answer


def open_runner(folder: Path, device: int = 0) -> OpenClRunner:
    """Read a bundle and make it ready on an OpenCL device.

    Raises:
        ModelError: the bundle is damaged or for another target.
        DeviceError: there is no such device, or it cannot run the bundle.
    """
    return OpenClRunner(read_bundle(folder, "opencl"), open_place(device))


def _shared_word(place: Place) -> tuple[Array, cl.Buffer]:
    """A word that the host writes while a kernel polls it."""
    word = np.zeros(1, np.uint32)
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
    return word, cl.Buffer(place.context, flags, hostbuf=word)


def _names(specs: tuple[Tensor, ...]) -> str:
    return ", ".join(repr(spec.name) for spec in specs)
