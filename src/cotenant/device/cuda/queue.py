"""A priority goes in; a stream of the device, as a queue of this project, comes out."""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from cotenant.device.bundle import Array, Triple
from cotenant.device.cuda.api import Cuda
from cotenant.device.cuda.events import CudaEvent, Events
from cotenant.device.elastic.driver import Argument, Buffer, Event, Kernel, Recording


class CudaQueue:
    """One stream. It waits for no other that was not named, the driver's own one included."""

    def __init__(self, cuda: Cuda, events: Events, priority: int) -> None:
        self._cuda = cuda
        self._raw = cuda.raw
        self._events = events
        flags = self._raw.CUstream_flags.CU_STREAM_NON_BLOCKING
        create = self._raw.cuStreamCreateWithPriority
        self.native: Any = cuda.call(create, int(flags), priority)
        weakref.finalize(self, cuda.release, self._raw.cuStreamDestroy, self.native).atexit = False

    def launch(
        self,
        kernel: Kernel,
        blocks: Triple,
        block: Triple,
        arguments: Sequence[Argument],
        behind: Sequence[Event] = (),
    ) -> CudaEvent:
        if behind:
            self.stand_behind(behind)
        before = self._before()
        packed = kernel.packed(arguments)  # type: ignore[attr-defined]
        shared_bytes: int = kernel.shared_bytes  # type: ignore[attr-defined]
        self._cuda.call(
            self._raw.cuLaunchKernel,
            kernel.native,
            *blocks,
            *block,
            shared_bytes,
            self.native,
            packed,
            0,
        )
        return self._events.record(self.native, before)

    def replay(self, recording: Recording) -> CudaEvent:
        before = self._before()
        self._cuda.call(self._raw.cuGraphLaunch, recording.native, self.native)
        return self._events.record(self.native, before)

    def upload(self, buffer: Buffer, array: Array) -> CudaEvent:
        staging = buffer.staging()  # type: ignore[attr-defined]
        staging.view(array.shape, array.dtype.str)[...] = array
        before = self._before()
        copy = self._raw.cuMemcpyHtoDAsync
        self._cuda.call(copy, buffer.native, staging.address, array.nbytes, self.native)
        staging.last = self._events.record(self.native, before)
        return staging.last  # type: ignore[no-any-return]

    def download(self, buffer: Buffer, shape: Sequence[int], dtype: str) -> tuple[Array, CudaEvent]:
        staging = buffer.staging()  # type: ignore[attr-defined]
        array: Array = staging.view(shape, dtype)
        before = self._before()
        copy = self._raw.cuMemcpyDtoHAsync
        self._cuda.call(copy, staging.address, buffer.native, array.nbytes, self.native)
        staging.last = self._events.record(self.native, before)
        return array, staging.last

    def write(self, buffer: Buffer, array: Array) -> None:
        whole = np.ascontiguousarray(array)
        copy = self._raw.cuMemcpyHtoDAsync
        self._cuda.call(copy, buffer.native, whole.ctypes.data, whole.nbytes, self.native)
        self.finish()

    def read(self, buffer: Buffer, array: Array) -> None:
        copy = self._raw.cuMemcpyDtoHAsync
        self.finish()  # the copy itself would wait, and spin
        self._cuda.call(copy, array.ctypes.data, buffer.native, array.nbytes, self.native)
        self.finish()

    def fill(self, buffer: Buffer, word: int, size_bytes: int) -> CudaEvent:
        before = self._before()
        fill = self._raw.cuMemsetD32Async
        self._cuda.call(fill, buffer.native, word, size_bytes // 4, self.native)
        return self._events.record(self.native, before)

    def copy(self, target: Buffer, source: Buffer) -> CudaEvent:
        before = self._before()
        copy = self._raw.cuMemcpyDtoDAsync
        self._cuda.call(copy, target.native, source.native, source.size, self.native)
        return self._events.record(self.native, before)

    def marker(self) -> CudaEvent:
        return self._events.record(self.native)

    def stand_behind(self, events: Sequence[Event]) -> None:
        for event in events:
            self._cuda.call(self._raw.cuStreamWaitEvent, self.native, event.native, 0)

    def flush(self) -> None:
        """The device gets what is queued at once."""

    def finish(self) -> None:
        self._events.record(self.native).wait()

    def _before(self) -> CudaEvent | None:
        return self._events.record(self.native) if self._events.timed else None
