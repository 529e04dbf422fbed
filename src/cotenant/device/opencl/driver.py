"""A number goes in; that OpenCL device comes out, with the operations of `elastic/driver.py`."""

import functools
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import pyopencl as cl

from cotenant.core.errors import DeviceError
from cotenant.core.hardware import allowed_cores
from cotenant.device.bundle import Array, Code, Triple
from cotenant.device.elastic.driver import (
    Argument,
    Buffer,
    DriverError,
    Event,
    Kernel,
    Priority,
    Queue,
    Recording,
)
from cotenant.device.elastic.place import Place, place_on
from cotenant.device.tuning import Here

_PROPERTIES = 0x1093
"""CL_QUEUE_PROPERTIES: the next value is the flags that other queues are made with."""
_PRIORITY_KHR = 0x1096
_HINTS = {Priority.HIGH: 1 << 0, Priority.LOW: 1 << 2}
"""Values of the extension cl_khr_priority_hints."""

_POCL_THREADS = ("POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT")
"""Up to PoCL 4, and from then on."""

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


def _asking(ask: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """The same, with this room's error in place of the package's."""

    @functools.wraps(ask)
    def asked(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made:
        try:
            return ask(*args, **kwargs)
        except cl.Error as error:
            raise DriverError(str(error)) from error

    return asked


class OpenClBuffer:
    """Memory of the device, or a part of it."""

    __slots__ = ("native",)

    def __init__(self, native: cl.Buffer) -> None:
        self.native = native

    @property
    def size(self) -> int:
        return int(self.native.size)

    @property
    def constant(self) -> bool:
        return bool(self.native.flags & cl.mem_flags.READ_ONLY)

    @_asking
    def part(self, offset_bytes: int, size_bytes: int) -> "OpenClBuffer":
        return OpenClBuffer(self.native.get_sub_region(offset_bytes, size_bytes))


class OpenClWord:
    """A word of the host that kernels look at where it lies."""

    def __init__(self, context: cl.Context) -> None:
        self.array: Array = np.zeros(1, np.uint32)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
        self.buffer = OpenClBuffer(cl.Buffer(context, flags, hostbuf=self.array))

    def put(self, value: int) -> None:
        self.array[0] = value


class OpenClEvent:
    """The driver's own event."""

    __slots__ = ("native",)

    def __init__(self, native: cl.Event) -> None:
        self.native = native

    @property
    def ended(self) -> bool:
        # Under nought stands an error, which ends a kernel as well.
        return bool(self.native.command_execution_status <= cl.command_execution_status.COMPLETE)

    def wait(self) -> None:
        try:
            self.native.wait()
        except cl.Error as error:
            raise DriverError(str(error)) from error

    @property
    def lasted_s(self) -> float:
        times = self.native.profile
        return float(times.end - times.start) * 1e-9

    def since_s(self, first: Event) -> float:
        return float(self.native.profile.end - first.native.profile.submit) * 1e-9


class OpenClKernel:
    """One kernel; its arguments are set at each launch."""

    def __init__(self, native: cl.Kernel, device: cl.Device) -> None:
        self.native = native
        self._device = device
        self._typed = False

    def take(self, arguments: Sequence[Argument]) -> None:
        """Set the arguments of the next launch."""
        if not self._typed:
            # Else the package finds out what a scalar is each time, in 10 us for each.
            types = [one.dtype if isinstance(one, np.generic) else None for one in arguments]
            self.native.set_arg_types(types)
            self._typed = True
        given: Any = [one.native if type(one) is OpenClBuffer else one for one in arguments]
        self.native.set_args(*given)

    @property
    def name(self) -> str:
        return str(self.native.function_name)

    @property
    def most_threads(self) -> int:
        ask = cl.kernel_work_group_info.WORK_GROUP_SIZE
        return int(str(self.native.get_work_group_info(ask, self._device)))


class OpenClProgram:
    """A built program."""

    def __init__(self, native: cl.Program, device: cl.Device) -> None:
        self._native = native
        self._device = device

    @_asking
    def kernel(self, name: str, shared_bytes: int = 0) -> OpenClKernel:
        """Memory that a launch asks for is a thing of CUDA: here the source declares it all."""
        return OpenClKernel(cl.Kernel(self._native, name), self._device)


class OpenClQueue:
    """An in-order queue."""

    def __init__(self, native: cl.CommandQueue) -> None:
        self.native = native

    def launch(
        self,
        kernel: Kernel,
        blocks: Triple,
        block: Triple,
        arguments: Sequence[Argument],
        behind: Sequence[Event] = (),
    ) -> OpenClEvent:
        size = (blocks[0] * block[0], blocks[1] * block[1], blocks[2] * block[2])
        native = kernel.native
        others = [one.native for one in behind] if behind else None
        try:
            cast(OpenClKernel, kernel).take(arguments)
            return OpenClEvent(
                cl.enqueue_nd_range_kernel(self.native, native, size, block, wait_for=others)
            )
        except cl.Error as error:
            raise DriverError(str(error)) from error

    def replay(self, recording: Recording) -> OpenClEvent:
        raise DriverError("OpenCL keeps no launches")  # and so `record` gives none

    @_asking
    def upload(self, buffer: Buffer, array: Array) -> OpenClEvent:
        """An event of a copy holds the array, and waits for its end when it is forgotten."""
        return OpenClEvent(cl.enqueue_copy(self.native, buffer.native, array, is_blocking=False))

    @_asking
    def download(
        self, buffer: Buffer, shape: Sequence[int], dtype: str
    ) -> tuple[Array, OpenClEvent]:
        array = np.empty(shape, dtype)
        copy = cl.enqueue_copy(self.native, array, buffer.native, is_blocking=False)
        return array, OpenClEvent(copy)

    @_asking
    def write(self, buffer: Buffer, array: Array) -> None:
        cl.enqueue_copy(self.native, buffer.native, array)

    @_asking
    def read(self, buffer: Buffer, array: Array) -> None:
        cl.enqueue_copy(self.native, array, buffer.native)

    @_asking
    def fill(self, buffer: Buffer, word: int, size_bytes: int) -> OpenClEvent:
        pattern = np.array([word], np.uint32)
        return OpenClEvent(
            cl.enqueue_fill_buffer(self.native, buffer.native, pattern, 0, size_bytes)
        )

    @_asking
    def copy(self, target: Buffer, source: Buffer) -> OpenClEvent:
        return OpenClEvent(cl.enqueue_copy(self.native, target.native, source.native))

    @_asking
    def marker(self) -> OpenClEvent:
        return OpenClEvent(cl.enqueue_marker(self.native))

    @_asking
    def stand_behind(self, events: Sequence[Event]) -> None:
        cl.enqueue_barrier(self.native, wait_for=[one.native for one in events])

    @_asking
    def flush(self) -> None:
        self.native.flush()

    @_asking
    def finish(self) -> None:
        self.native.finish()


class OpenClAccelerator:
    """One device with a context."""

    language = "opencl"

    def __init__(self, native: cl.Device) -> None:
        self.native = native
        self.context = cl.Context([native])
        self.name = name_of(native)
        version = f"{native.driver_version.strip()}; {native.version.strip()}"
        self.here = Here(self.name, version)
        self.width = int(native.max_compute_units)
        self.unit_threads = int(native.max_work_group_size)
        self.memory_bytes = int(native.global_mem_size)
        self.alignment_bytes = int(native.mem_base_addr_align) // 8
        self.processor = bool(native.type & cl.device_type.CPU)
        # A core runs the threads of one block in turn.
        self.unit_blocks = 1 if self.processor else None
        self._ranks = "cl_khr_priority_hints" in native.extensions.split()

    def refusal(self, target: str) -> str | None:
        return None  # the device's own compiler makes of the source what it needs

    def build(self, code: Code, name: str) -> OpenClProgram:
        try:
            # A driver that says anything at all while it compiles is no concern of the caller's.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", cl.CompilerWarning)
                program = cl.Program(self.context, code.source)
                program.build()
                return OpenClProgram(program, self.native)
        except cl.RuntimeError as error:
            raise DeviceError(
                f"kernel {name!r} does not build on {self.name!r}; its compiler says: "
                f"{str(error).strip()[:2000]}"
            ) from error

    @_asking
    def buffer(self, size_bytes: int) -> OpenClBuffer:
        return OpenClBuffer(cl.Buffer(self.context, cl.mem_flags.READ_WRITE, size_bytes))

    @_asking
    def constant(self, array: Array) -> OpenClBuffer:
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        return OpenClBuffer(cl.Buffer(self.context, flags, hostbuf=array))

    @_asking
    def word(self) -> OpenClWord:
        return OpenClWord(self.context)

    @_asking
    def queue(self, priority: Priority = Priority.ORDINARY, *, timed: bool = False) -> OpenClQueue:
        profiling = cl.command_queue_properties.PROFILING_ENABLE
        if priority in _HINTS and self._ranks:
            # The package's types know of no list.
            properties: Any = [_PRIORITY_KHR, _HINTS[priority]]
            if timed:
                properties += [_PROPERTIES, int(profiling)]
            return OpenClQueue(cl.CommandQueue(self.context, self.native, properties))
        if timed:
            return OpenClQueue(cl.CommandQueue(self.context, properties=profiling))
        return OpenClQueue(cl.CommandQueue(self.context))

    def record(self, fill: Callable[[Queue, Sequence[Queue]], object], sides: int) -> None:
        """OpenCL 1.2 keeps no launches."""


def open_place(number: int = 0) -> Place:
    """Open a device by its number; graphics processors come before processors.

    Raises:
        DeviceError: there is no OpenCL device of this number, or it cannot be opened.
    """
    found = devices()
    if not 0 <= number < len(found):
        raise DeviceError(
            f"there is no OpenCL device {number}; {len(found)} found; install a driver, or "
            "PoCL with: pip install 'cotenant[opencl]'"
        )
    try:
        return place_on(OpenClAccelerator(found[number]))
    except cl.Error as error:
        raise DriverError(f"OpenCL device {number} cannot be opened: {error}") from error


def devices() -> list[cl.Device]:
    """Every OpenCL device; the place in this list is its number."""
    # PoCL starts a thread for each core of the machine, whichever of them this process may use.
    for limit in _POCL_THREADS:
        os.environ.setdefault(limit, str(len(allowed_cores())))
    try:
        platforms = cl.get_platforms()
    except cl.LogicError:
        return []  # the loader has found no driver
    found = [device for platform in platforms for device in platform.get_devices()]
    return sorted(found, key=lambda device: not device.type & cl.device_type.GPU)


def name_of(device: cl.Device) -> str:
    """Of its platform and its own."""
    return f"{device.platform.name.strip()}: {device.name.strip()}"
