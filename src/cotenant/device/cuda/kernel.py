"""An image of code goes in; its kernels, with room for their arguments, come out."""

import ctypes
import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from cotenant.device.cuda.api import Cuda
from cotenant.device.cuda.memory import CudaBuffer
from cotenant.device.elastic.driver import Argument, DriverError

_LOG_BYTES = 4096


class CudaKernel:
    """One function of a module. Only one thread at a time may launch it."""

    def __init__(
        self, cuda: Cuda, program: "CudaProgram", native: Any, name: str, shared_bytes: int
    ) -> None:
        self.native = native
        self.name = name
        self.shared_bytes = shared_bytes
        self._cuda = cuda
        self._program = program  # not to be unloaded before this
        self._takes = _parameters(cuda, native)
        self._slots: Any = (ctypes.c_uint64 * 0)()
        self._pointers: Any = (ctypes.c_void_p * 0)()
        if shared_bytes:
            attribute = cuda.raw.CUfunction_attribute
            most = attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            cuda.call(cuda.raw.cuFuncSetAttribute, native, most, shared_bytes)

    @property
    def most_threads(self) -> int:
        attribute = self._cuda.raw.CUfunction_attribute
        most = attribute.CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
        return int(self._cuda.call(self._cuda.raw.cuFuncGetAttribute, most, self.native))

    def packed(self, arguments: Sequence[Argument]) -> int:
        """Address of the list of the arguments' addresses; the driver copies what stands there.

        Each has eight bytes; the driver takes as many of them as the parameter has.
        """
        count = len(arguments)
        if count != len(self._slots):
            if self._takes not in (None, count):
                raise DriverError(
                    f"kernel {self.name!r} takes {self._takes} arguments, not {count}; "
                    "compile its bundle again"
                )
            self._slots = (ctypes.c_uint64 * count)()
            first = ctypes.addressof(self._slots)
            self._pointers = (ctypes.c_void_p * count)(*range(first, first + 8 * count, 8))
        self._slots[:] = [
            one.native if type(one) is CudaBuffer else _bits(one) for one in arguments
        ]
        return ctypes.addressof(self._pointers)


class CudaProgram:
    """A loaded module."""

    def __init__(self, cuda: Cuda, image: bytes) -> None:
        """Load an image: PTX, which the driver compiles now, or what was compiled before.

        Raises:
            DriverError: the driver refuses it; its compiler's log is in the message.
        """
        self._cuda = cuda
        option, log = cuda.raw.CUjit_option, bytearray(_LOG_BYTES)
        options = {
            option.CU_JIT_ERROR_LOG_BUFFER: log,
            option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES: len(log),
        }
        # The driver reads PTX up to a zero byte.
        given = (image + b"\0", len(options), list(options), list(options.values()))
        try:
            self._native = cuda.call(cuda.raw.cuModuleLoadDataEx, *given)
        except DriverError as error:
            says = log.rstrip(b"\0").decode(errors="replace").strip()
            raise DriverError(f"{error}; {says}" if says else str(error), lost=error.lost) from None
        unload = cuda.raw.cuModuleUnload
        weakref.finalize(self, cuda.release, unload, self._native).atexit = False

    def kernel(self, name: str, shared_bytes: int = 0) -> CudaKernel:
        function = self._cuda.call(self._cuda.raw.cuModuleGetFunction, self._native, name.encode())
        return CudaKernel(self._cuda, self, function, name, shared_bytes)


def _parameters(cuda: Cuda, function: Any) -> int | None:
    """How many a kernel has; `None` where the driver, older than CUDA 12.4, does not tell.

    A launch with too few would read addresses from anywhere.
    """
    try:
        ask = cuda.raw.cuFuncGetParamInfo
        for number in itertools.count():
            code, *_ = ask(function, number)
            if code:  # there is none of this number
                return number
    except (AttributeError, RuntimeError):
        pass
    return None


def _bits(scalar: Any) -> int:
    """The bytes of a scalar as a number."""
    if type(scalar) is np.uint32:
        return int(scalar)
    return int.from_bytes(scalar.tobytes(), "little")
