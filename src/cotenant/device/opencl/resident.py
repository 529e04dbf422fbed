"""A bundle and a device go in; its kernels, weights and counters come out, ready to be launched."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyopencl as cl

from cotenant.core.errors import DeviceError, InvalidRequest
from cotenant.device.bundle import Array, Bundle, Schedule, Tensor
from cotenant.device.opencl.launch import Forms, forms
from cotenant.device.opencl.place import Place, build, plain_part
from cotenant.device.stages import grouped
from cotenant.device.tuning import chosen_variants

_RUN_ON = "lower the batch, unload another task of this device, or use a larger one"


class Step(NamedTuple):
    """One launch of a bundle, with the buffers that are its arguments."""

    name: str
    kernel: Forms
    arguments: tuple[cl.Buffer, ...]
    progress: cl.Buffer
    """The counter of its preemptive form."""


class Resident:
    """What a bundle keeps on a device; at most one inference of it runs at a time."""

    def __init__(
        self, bundle: Bundle, place: Place, chosen: Mapping[str, str] | None = None
    ) -> None:
        """Build the kernels and put the weights in place.

        Args:
            chosen: variants by kernel; `None` takes those of the bundle's tuning table.

        Raises:
            DeviceError: a kernel does not build in any form, or the memory is not enough.
        """
        self._manifest = bundle.manifest
        self.fallbacks: dict[str, str] = {}
        """Kernels whose elastic forms or variant this device's compiler refuses, with its log."""
        try:
            self._values = self._put(bundle, place)
            self._counters, counters = self._count(place)
        except cl.Error as error:
            raise DeviceError(_does_not_fit(bundle, place, error)) from error
        variants = chosen_variants(bundle, place.here) if chosen is None else chosen
        kernels = {
            name: self._kernel(bundle, place, name, variants.get(name))
            for name in self._manifest.kernels
        }
        self.steps = tuple(
            Step(
                step.kernel,
                kernels[step.kernel],
                tuple(self._values[name] for name in step.arguments),
                counter,
            )
            for step, counter in zip(self._manifest.steps, counters, strict=True)
        )
        self.stages = grouped([step.stage for step in self._manifest.steps])
        """Numbers of the steps of each stage."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._manifest.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self._manifest.outputs

    def check(self, inputs: Mapping[str, Array]) -> None:
        """Raises `InvalidRequest` where an input is missing, or has another type or shape."""
        for spec in self.inputs:
            if spec.name not in inputs:
                raise InvalidRequest(f"input {spec.name!r} is missing; give {_names(self.inputs)}")
            given = inputs[spec.name]
            if given.dtype.name != spec.dtype or given.shape != spec.shape:
                raise InvalidRequest(
                    f"input {spec.name!r} is {given.dtype} {list(given.shape)}; this bundle was "
                    f"compiled for {spec.dtype} {list(spec.shape)}"
                )

    def feed(self, queue: cl.CommandQueue, inputs: Mapping[str, Array]) -> list[cl.Event]:
        """Queue the copies of checked inputs.

        An event of a copy holds the array, and waits for its end when it is forgotten.
        """
        return [
            cl.enqueue_copy(
                queue,
                self._values[spec.value],
                np.ascontiguousarray(inputs[spec.name]),
                is_blocking=False,
            )
            for spec in self.inputs
        ]

    def fetch(self, queue: cl.CommandQueue) -> tuple[dict[str, Array], list[cl.Event]]:
        """Queue the copies of the outputs; they are there when the events have come."""
        answer = {spec.name: np.empty(spec.shape, spec.dtype) for spec in self.outputs}
        copies = [
            cl.enqueue_copy(queue, answer[spec.name], self._values[spec.value], is_blocking=False)
            for spec in self.outputs
        ]
        return answer, copies

    def rewind(self, queue: cl.CommandQueue) -> None:
        """Queue that all counters start from nothing."""
        cl.enqueue_fill_buffer(
            queue, self._counters, np.zeros(1, np.uint32), 0, self._counters.size
        )

    def progress(self, queue: cl.CommandQueue) -> Sequence[int]:
        """How many tiles of each step were claimed; waits for all that is queued."""
        found = np.empty(self._counters.size // 4, np.uint32)
        cl.enqueue_copy(queue, found, self._counters)
        return [int(one) for one in found[:: len(found) // max(1, len(self.steps))]]

    def _kernel(self, bundle: Bundle, place: Place, name: str, variant: str | None) -> Forms:
        about = self._manifest.kernels[name]
        if variant is not None:
            source = bundle.variant_sources[name][variant]
            try:
                return built(place, source, name, about.variants[variant])
            except DeviceError as error:
                self.fallbacks[name] = str(error)
        return self._built(place, bundle.sources[name], name, about)

    def _built(self, place: Place, source: str, name: str, about: Schedule) -> Forms:
        try:
            return built(place, source, name, about)
        except DeviceError as error:
            if about.rung != "preemptive":
                raise
            program = build(place, plain_part(source), name)
            self.fallbacks[name] = str(error)
            return forms(program, name, about.grid, about.block, False)

    def _put(self, bundle: Bundle, place: Place) -> dict[str, cl.Buffer]:
        context, flags = place.context, cl.mem_flags
        values = {
            name: cl.Buffer(
                context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=np.ascontiguousarray(one)
            )
            for name, one in bundle.weights.items()
        }
        arena = cl.Buffer(context, flags.READ_WRITE, max(1, bundle.manifest.arena_bytes))
        for name, where in bundle.manifest.places.items():
            values[name] = arena.get_sub_region(where.offset_bytes, max(1, where.size_bytes))
        return values

    def _count(self, place: Place) -> tuple[cl.Buffer, list[cl.Buffer]]:
        """One counter for each step, far enough apart to be buffers of their own."""
        apart = max(4, place.device.mem_base_addr_align // 8)
        count = max(1, len(self._manifest.steps))
        whole = cl.Buffer(place.context, cl.mem_flags.READ_WRITE, apart * count)
        steps = range(len(self._manifest.steps))
        return whole, [whole.get_sub_region(apart * number, 4) for number in steps]


def built(place: Place, source: str, name: str, about: Schedule) -> Forms:
    """All forms of a schedule.

    Raises:
        DeviceError: the device's compiler refuses them, or holds no block of this size.
    """
    program = build(place, source, name)
    made = forms(program, name, about.grid, about.block, about.rung == "preemptive")
    x, y, z = about.block
    ask = cl.kernel_work_group_info.WORK_GROUP_SIZE
    most = min(
        int(str(kernel.get_work_group_info(ask, place.device)))
        for kernel in (made.plain, made.static, made.preemptive)
        if kernel is not None
    )
    if x * y * z > most:
        raise DeviceError(
            f"kernel {name!r} has blocks of {x * y * z} threads, and {place.name!r} takes at "
            f"most {most} of it; compile the model again for this device"
        )
    return made


def _does_not_fit(bundle: Bundle, place: Place, error: cl.Error) -> str:
    need = bundle.manifest.arena_bytes + sum(each.nbytes for each in bundle.weights.values())
    has = place.device.global_mem_size
    return (
        f"bundle {str(bundle.folder)!r} needs {need} bytes on {place.name!r}, which has {has} "
        f"and refuses: {error}; {_RUN_ON}"
    )


def _names(specs: tuple[Tensor, ...]) -> str:
    return ", ".join(repr(spec.name) for spec in specs)
