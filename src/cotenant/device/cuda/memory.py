"""Sizes go in; memory of the device, and of the host where the device reaches it, comes out.

Letting go of memory may wait for all that the device does: it happens when a task is unloaded,
never between two launches.
"""

import ctypes
import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from cotenant.device.bundle import Array
from cotenant.device.cuda.api import Cuda
from cotenant.device.cuda.events import CudaEvent, Events

_WORD_BYTES = 4


class Pinned:
    """Memory of the host that stays where it is: the device copies from and to it by itself.

    A copy from ordinary memory would keep its caller until it has ended.
    """

    def __init__(self, cuda: Cuda, size_bytes: int) -> None:
        raw = cuda.raw
        self.address = int(cuda.call(raw.cuMemHostAlloc, size_bytes, 0))
        self.bytes: Array = np.ctypeslib.as_array(
            (ctypes.c_uint8 * size_bytes).from_address(self.address)
        )
        self.last: CudaEvent | None = None
        """The last copy."""
        weakref.finalize(self, cuda.release, raw.cuMemFreeHost, self.address).atexit = False

    def view(self, shape: Sequence[int], dtype: str) -> Array:
        """Its first bytes as an array."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return self.bytes[:size].view(dtype).reshape(tuple(shape))


class CudaBuffer:
    """Memory of the device, or a part of it."""

    def __init__(
        self, cuda: Cuda, address: int, size: int, *, whole: object = None, constant: bool = False
    ) -> None:
        """`whole` is what must not be let go of before this."""
        self.native = address
        self.size = size
        self.constant = constant
        self._cuda = cuda
        self._whole = whole
        self._staging: Pinned | None = None

    @classmethod
    def allocate(cls, cuda: Cuda, size_bytes: int, *, constant: bool = False) -> "CudaBuffer":
        """New memory.

        Raises:
            DriverError: the device has not so much left.
        """
        address = int(cuda.call(cuda.raw.cuMemAlloc, size_bytes))
        made = cls(cuda, address, size_bytes, constant=constant)
        weakref.finalize(made, cuda.release, cuda.raw.cuMemFree, address).atexit = False
        return made

    def part(self, offset_bytes: int, size_bytes: int) -> "CudaBuffer":
        return CudaBuffer(self._cuda, self.native + offset_bytes, size_bytes, whole=self)

    def staging(self) -> Pinned:
        """Memory of the host for its copies; made for the first, and free when it is returned."""
        if self._staging is None:
            self._staging = Pinned(self._cuda, self.size)
        elif self._staging.last is not None:
            self._staging.last.wait()
        return self._staging


class CudaWord:
    """A word in the device's memory, which a copy changes while kernels run.

    Every claim looks at it. In the host's memory, across the bus, that look took longer than a
    tile: AlexNet, 280,000 tiles in its longest kernel, took 0.8 s on an H200 instead of 3 ms.
    """

    def __init__(self, cuda: Cuda, events: Events, stream: Any) -> None:
        """`stream` is nobody else's: what stands in it waits for no kernel."""
        self._cuda, self._events, self._stream = cuda, events, stream
        self.buffer = CudaBuffer.allocate(cuda, _WORD_BYTES)
        self._values = Pinned(cuda, 2 * _WORD_BYTES)
        self._values.bytes.view(np.uint32)[:] = (0, 1)
        self.put(0).wait()

    def put(self, value: int) -> CudaEvent:
        """Either of the two that lie ready."""
        source, copy = self._values.address + value * _WORD_BYTES, self._cuda.raw.cuMemcpyHtoDAsync
        self._cuda.call(copy, self.buffer.native, source, _WORD_BYTES, self._stream.native)
        return self._events.record(self._stream.native)
