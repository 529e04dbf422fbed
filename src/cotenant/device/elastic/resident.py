"""A bundle and a device go in; its kernels, weights and counters come out, ready to be launched."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cotenant.core.errors import DeviceError, InvalidRequest
from cotenant.device.bundle import Array, Bundle, Code, Schedule, Tensor
from cotenant.device.elastic.driver import Buffer, DriverError, Event, Queue
from cotenant.device.elastic.launch import Forms, forms
from cotenant.device.elastic.place import Place, plain_part
from cotenant.device.sharing import Costs
from cotenant.device.stages import grouped
from cotenant.device.tuning import DEFAULT, tuned_kernels

_RUN_ON = "lower the batch, unload another task of this device, or use a larger one"


class Step(NamedTuple):
    """One launch of a bundle, with the buffers that are its arguments."""

    name: str
    kernel: Forms
    arguments: tuple[Buffer, ...]
    progress: Buffer
    """The counter of its preemptive form."""
    costs: Costs = ()
    """Of its static form, by the bundle's tuning table."""


class Resident:
    """What a bundle keeps on a device; at most one inference of it runs at a time."""

    def __init__(
        self, bundle: Bundle, place: Place, chosen: Mapping[str, str] | None = None
    ) -> None:
        """Build the kernels and put the weights in place.

        Args:
            chosen: variants by kernel; `None` takes what the bundle's tuning table knows.

        Raises:
            DeviceError: a kernel does not build in any form, or the memory is not enough.
        """
        refusal = place.device.refusal(bundle.manifest.target)
        if refusal is not None:
            raise DeviceError(f"bundle {str(bundle.folder)!r} cannot run here: {refusal}")
        self._manifest = bundle.manifest
        self.fallbacks: dict[str, str] = {}
        """Kernels whose elastic forms or variant this device's compiler refuses, with its log."""
        try:
            self._values = self._put(bundle, place)
            self._counters, counters = self._count(place)
        except DriverError as error:
            raise DeviceError(_does_not_fit(bundle, place, error)) from error
        known = tuned_kernels(bundle, place.here) if chosen is None else {}
        variants = {name: one.chosen for name, one in known.items()} if chosen is None else chosen
        kernels = {
            name: self._kernel(bundle, place, name, variants.get(name, DEFAULT))
            for name in self._manifest.kernels
        }
        # What was measured is the schedule that was chosen; what runs in its place is not known.
        costs = {name: one.costs for name, one in known.items() if name not in self.fallbacks}
        self.steps = tuple(
            Step(
                step.kernel,
                kernels[step.kernel],
                tuple(self._values[name] for name in step.arguments),
                counter,
                costs.get(step.kernel, ()),
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

    def feed(self, queue: Queue, inputs: Mapping[str, Array]) -> list[Event]:
        """Queue the copies of checked inputs."""
        return [
            queue.upload(self._values[spec.value], np.ascontiguousarray(inputs[spec.name]))
            for spec in self.inputs
        ]

    def fetch(self, queue: Queue) -> tuple[dict[str, Array], list[Event]]:
        """Queue the copies of the outputs.

        They are there when the events have come, and hold until they are next fetched.
        """
        answer: dict[str, Array] = {}
        copies: list[Event] = []
        for spec in self.outputs:
            answer[spec.name], copy = queue.download(
                self._values[spec.value], spec.shape, spec.dtype
            )
            copies.append(copy)
        return answer, copies

    def rewind(self, queue: Queue) -> None:
        """Queue that all counters start from nothing."""
        queue.fill(self._counters, 0, self._counters.size)

    def progress(self, queue: Queue) -> Sequence[int]:
        """How many tiles of each step were claimed; waits for all that is queued."""
        words = self._counters.size // 4
        found, copied = queue.download(self._counters, (words,), "<u4")
        queue.flush()
        copied.wait()
        return [int(one) for one in found[:: words // max(1, len(self.steps))]]

    def count(self, queue: Queue, tiles: Sequence[int]) -> None:
        """Queue that the counters of the steps stand at so many tiles."""
        words = np.zeros(self._counters.size // 4, np.uint32)
        words[:: len(words) // max(1, len(self.steps))] = tiles
        queue.upload(self._counters, words)

    def _kernel(self, bundle: Bundle, place: Place, name: str, variant: str) -> Forms:
        about = self._manifest.kernels[name]
        if variant != DEFAULT:
            try:
                return built(place, bundle.code(name, variant), name, about.variants[variant])
            except DeviceError as error:
                self.fallbacks[name] = str(error)
        return self._built(place, bundle.code(name), name, about)

    def _built(self, place: Place, code: Code, name: str, about: Schedule) -> Forms:
        try:
            return built(place, code, name, about)
        except DeviceError as error:
            if about.rung != "preemptive":
                raise
            try:
                program = place.device.build(plain_part(code), name)
            except DriverError:
                raise
            except DeviceError as plain:  # what was wrong at first is why this was tried
                raise DeviceError(f"{error}; nor in its plain form: {plain}") from error
            self.fallbacks[name] = str(error)
            shared_bytes = about.shared_bytes
            made = forms(program, name, about.grid, about.block, False, shared_bytes=shared_bytes)
            return _that_fits(place, name, made)

    def _put(self, bundle: Bundle, place: Place) -> dict[str, Buffer]:
        values = {
            name: place.device.constant(np.ascontiguousarray(one))
            for name, one in bundle.weights.items()
        }
        arena = place.device.buffer(max(1, bundle.manifest.arena_bytes))
        for name, where in bundle.manifest.places.items():
            values[name] = arena.part(where.offset_bytes, max(1, where.size_bytes))
        return values

    def _count(self, place: Place) -> tuple[Buffer, list[Buffer]]:
        """One counter for each step, far enough apart to be buffers of their own."""
        apart = max(4, place.device.alignment_bytes)
        count = max(1, len(self._manifest.steps))
        whole = place.device.buffer(apart * count)
        steps = range(len(self._manifest.steps))
        return whole, [whole.part(apart * number, 4) for number in steps]


def built(place: Place, code: Code, name: str, about: Schedule) -> Forms:
    """All forms of a schedule.

    Raises:
        DeviceError: the device's compiler refuses them, or holds no block of this size.
    """
    program, elastic = place.device.build(code, name), about.rung == "preemptive"
    made = forms(program, name, about.grid, about.block, elastic, shared_bytes=about.shared_bytes)
    return _that_fits(place, name, made)


def _that_fits(place: Place, name: str, made: Forms) -> Forms:
    """The same forms, if the device holds a block of each."""
    x, y, z = made.block
    most = min(
        kernel.most_threads
        for kernel in (made.plain, made.static, made.preemptive)
        if kernel is not None
    )
    if x * y * z > most:
        raise DeviceError(
            f"kernel {name!r} has blocks of {x * y * z} threads, and {place.name!r} takes at "
            f"most {most} of it; compile the model again for this device"
        )
    return made


def _does_not_fit(bundle: Bundle, place: Place, error: DriverError) -> str:
    need = bundle.manifest.arena_bytes + sum(each.nbytes for each in bundle.weights.values())
    has = place.device.memory_bytes
    return (
        f"bundle {str(bundle.folder)!r} needs {need} bytes on {place.name!r}, which has {has} "
        f"and refuses: {error}; {_RUN_ON}"
    )


def _names(specs: tuple[Tensor, ...]) -> str:
    return ", ".join(repr(spec.name) for spec in specs)
