"""A number goes in; that CUDA device comes out, with the operations of `elastic/driver.py`."""

import logging
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from cotenant.core.errors import CotenantError, DeviceError
from cotenant.device.bundle import Array, Code
from cotenant.device.cuda.api import Cuda
from cotenant.device.cuda.events import Events
from cotenant.device.cuda.graph import CudaGraph
from cotenant.device.cuda.kernel import CudaProgram
from cotenant.device.cuda.kind import CUDA
from cotenant.device.cuda.memory import CudaBuffer, CudaWord
from cotenant.device.cuda.nvrtc import compiled
from cotenant.device.cuda.queue import CudaQueue
from cotenant.device.elastic.driver import DriverError, Priority, Queue
from cotenant.device.elastic.find import Found
from cotenant.device.elastic.place import Place, place_on
from cotenant.device.tuning import Here

_ALIGNMENT_BYTES = 256
_NAME_BYTES = 256
_TARGET = re.compile(r"cuda:sm_(\d+)")

_log = logging.getLogger("cotenant")


class CudaAccelerator:
    """One device with its primary context."""

    language = "cuda"
    processor = False
    alignment_bytes = _ALIGNMENT_BYTES

    def __init__(self, cuda: Cuda, number: int) -> None:
        raw, attribute = cuda.raw, cuda.raw.CUdevice_attribute
        device = cuda.call(raw.cuDeviceGet, number)
        about = describe(cuda, number)
        self._cuda = cuda
        self._sm = int(about.target.rpartition("sm_")[2])
        self.name = about.name
        self.here = Here(self.name, f"{_version(cuda)}; {_driver()}; sm_{self._sm}")
        self.width = about.units
        self.memory_bytes = about.memory_bytes
        threads, blocks = (
            int(cuda.call(raw.cuDeviceGetAttribute, one, device))
            for one in (
                attribute.CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
                attribute.CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR,
            )
        )
        self.unit_threads = threads
        self.unit_blocks: int | None = blocks
        flags = raw.CUctx_flags.CU_CTX_SCHED_BLOCKING_SYNC
        cuda.release(raw.cuDevicePrimaryCtxSetFlags, device, int(flags))  # a wish
        cuda.use(cuda.call(raw.cuDevicePrimaryCtxRetain, device))
        least, greatest = cuda.call(raw.cuCtxGetStreamPriorityRange)
        # Nought is the priority of who does not ask; on every device it is the lowest there is.
        self._priorities = {
            Priority.HIGH: int(greatest), Priority.ORDINARY: 0, Priority.LOW: int(least)
        }  # fmt: skip
        self._untimed, self._timed = Events(cuda, timed=False), Events(cuda, timed=True)
        self._loading = self.queue()

    def refusal(self, target: str) -> str | None:
        found = _TARGET.fullmatch(target)
        if found is None:
            return f"its target is {target!r}, and this device runs code for cuda:sm_{self._sm}"
        wanted = int(found[1])
        if wanted <= self._sm:
            return None
        return (
            f"it was compiled for sm_{wanted}, and {self.name!r} is sm_{self._sm}; code for an "
            "architecture runs on newer devices, not on older ones; compile it again with "
            f"--target cuda:sm_{self._sm}"
        )

    def build(self, code: Code, name: str) -> CudaProgram:
        refused = f"its bundle holds no PTX of kernel {name!r}"
        if code.ptx is not None:
            try:
                return CudaProgram(self._cuda, code.ptx)
            except DriverError as error:
                if error.lost:
                    raise
                refused = f"kernel {name!r} is refused as PTX on {self.name!r}: {error}"
        try:
            return CudaProgram(self._cuda, compiled(code.source, name, f"sm_{self._sm}").cubin)
        except DriverError as error:
            if error.lost:
                raise
            raise DeviceError(
                f"kernel {name!r} does not build on {self.name!r} ({_version(self._cuda)}): "
                f"{error}; {refused}; update NVIDIA's driver, or compile with an older NVRTC"
            ) from error
        except CotenantError as error:
            raise DeviceError(
                f"kernel {name!r} does not build: {refused}; from its source: {error}"
            ) from error

    def buffer(self, size_bytes: int) -> CudaBuffer:
        return CudaBuffer.allocate(self._cuda, size_bytes)

    def constant(self, array: Array) -> CudaBuffer:
        made = CudaBuffer.allocate(self._cuda, max(1, array.nbytes), constant=True)
        self._loading.write(made, array)
        return made

    def word(self) -> CudaWord:
        return CudaWord(self._cuda, self._untimed, self.queue(Priority.HIGH))

    def queue(self, priority: Priority = Priority.ORDINARY, *, timed: bool = False) -> CudaQueue:
        events = self._timed if timed else self._untimed
        return CudaQueue(self._cuda, events, self._priorities[priority])

    def record(
        self, fill: Callable[[Queue, Sequence[Queue]], object], sides: int
    ) -> CudaGraph | None:
        # Streams of their own: what others queue meanwhile would be recorded with it. A graph
        # has the priority of the stream that it is queued into.
        queues = [self.queue() for _ in range(1 + sides)]
        try:
            return CudaGraph(self._cuda, queues[0], queues[1:], fill)
        except DriverError as error:
            if error.lost:
                raise
            _log.warning("launches are not recorded, but queued one by one: %s", error)
            return None


def open_place(number: int = 0, bindings: Any = None) -> Place:
    """Open a device by its number.

    Args:
        bindings: `None` loads NVIDIA's package.

    Raises:
        DeviceError: package or driver are missing, or there is no device of this number.
    """
    # Loading a kernel at its first launch would wait for what runs, and fail in a recording.
    os.environ.setdefault("CUDA_MODULE_LOADING", "EAGER")
    cuda = Cuda(bindings)
    count = cuda.call(cuda.raw.cuDeviceGetCount)
    if not 0 <= number < count:
        raise DeviceError(f"there is no CUDA device {number}; {count} found; {CUDA.remedy}")
    return place_on(CudaAccelerator(cuda, number))


def devices(bindings: Any = None) -> tuple[Found, ...]:
    """Every device of the driver, in its order.

    Raises:
        DeviceError: package or driver are missing.
    """
    cuda = Cuda(bindings)
    return tuple(describe(cuda, one) for one in range(cuda.call(cuda.raw.cuDeviceGetCount)))


def describe(cuda: Cuda, number: int) -> Found:
    """What is known of a device without opening it."""
    raw, attribute = cuda.raw, cuda.raw.CUdevice_attribute
    device = cuda.call(raw.cuDeviceGet, number)

    def ask(what: Any) -> int:
        return int(cuda.call(raw.cuDeviceGetAttribute, what, device))

    major = ask(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
    minor = ask(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
    name = bytes(cuda.call(raw.cuDeviceGetName, _NAME_BYTES, device)).partition(b"\0")[0]
    return Found(
        name=f"CUDA: {name.decode(errors='replace').strip()}",
        units=ask(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
        memory_bytes=int(cuda.call(raw.cuDeviceTotalMem, device)),
        target=f"cuda:sm_{10 * major + minor}",
    )


def _version(cuda: Cuda) -> str:
    number = int(cuda.call(cuda.raw.cuDriverGetVersion))
    return f"CUDA {number // 1000}.{number % 1000 // 10}"


def _driver() -> str:
    """The driver's own version, which its interface does not tell."""
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8") as told:
            return " ".join(told.readline().split())
    except OSError:
        return "driver of unknown version"
