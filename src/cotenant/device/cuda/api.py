"""The package of NVIDIA goes in; the driver's functions come out, which answer or raise.

`cuda.bindings.driver` is NVIDIA's own package, a function for each of the driver's; each returns
a code first. It is given as an argument, so that a test can give another with the same names.
"""

import importlib
import threading
from collections.abc import Callable
from typing import Any

from cotenant.core.errors import DeviceError
from cotenant.device.cuda.kind import CUDA
from cotenant.device.elastic.driver import DriverError

_NO_DRIVER = f"there is no CUDA driver here: {{}}; {CUDA.remedy}"
_LOST = frozenset(
    {
        *("CUDA_ERROR_DEINITIALIZED", "CUDA_ERROR_CONTEXT_IS_DESTROYED"),
        *("CUDA_ERROR_ECC_UNCORRECTABLE", "CUDA_ERROR_ILLEGAL_ADDRESS"),
        *("CUDA_ERROR_LAUNCH_TIMEOUT", "CUDA_ERROR_ASSERT", "CUDA_ERROR_HARDWARE_STACK_ERROR"),
        *("CUDA_ERROR_ILLEGAL_INSTRUCTION", "CUDA_ERROR_MISALIGNED_ADDRESS"),
        *("CUDA_ERROR_INVALID_ADDRESS_SPACE", "CUDA_ERROR_INVALID_PC", "CUDA_ERROR_LAUNCH_FAILED"),
    }
)
"""After one of these every call fails until the process ends."""


class Cuda:
    """The driver, initialised. Threads may call at any time."""

    def __init__(self, bindings: Any = None) -> None:
        """Initialise the driver.

        Args:
            bindings: `None` loads NVIDIA's package.

        Raises:
            DeviceError: the package or the driver is missing, or the driver refuses.
        """
        self.raw = _package() if bindings is None else bindings
        self._not_ready = int(self.raw.CUresult.CUDA_ERROR_NOT_READY)
        self._context: Any = None
        self._thread = threading.local()
        try:
            (code,) = self.raw.cuInit(0)
        except RuntimeError as error:  # the package finds no library of the driver
            raise DeviceError(_NO_DRIVER.format(str(error).strip().rstrip("."))) from error
        if code:
            raise DeviceError(_NO_DRIVER.format(self._error(self.raw.cuInit, code)))

    def use(self, context: Any) -> None:
        """From now on each thread works in this context."""
        self._context = context
        self._thread = threading.local()

    def call(self, ask: Callable[..., Any], *given: Any) -> Any:
        """What a function answers: nothing, one thing, or several.

        Raises:
            DriverError: it refuses.
        """
        self._enter()
        try:
            answer = ask(*given)
        except RuntimeError as error:  # a function that this driver does not have
            raise DriverError(
                f"{error}; install the cuda-bindings of this driver's version of CUDA"
            ) from error
        if answer[0]:  # nought is success
            raise self._error(ask, answer[0])
        if len(answer) == 2:
            return answer[1]
        return answer[1:] or None

    def done(self, event: Any) -> bool:
        """Whether an event has come, or can no longer come, since something has failed."""
        self._enter()
        (code,) = self.raw.cuEventQuery(event)
        return bool(code != self._not_ready)

    def release(self, ask: Callable[..., Any], *given: Any) -> None:
        """Let go of something; what may be wrong with the driver by then is no matter."""
        try:
            self.call(ask, *given)
        except DriverError:
            return

    def _enter(self) -> None:
        """A context is a thread's own setting."""
        if self._context is not None and not getattr(self._thread, "entered", False):
            self._thread.entered = True
            (code,) = self.raw.cuCtxSetCurrent(self._context)
            if code:
                raise self._error(self.raw.cuCtxSetCurrent, code)

    def _error(self, ask: Callable[..., Any], code: Any) -> DriverError:
        name = getattr(code, "name", str(code))
        _, text = self.raw.cuGetErrorString(code)
        says = text.decode(errors="replace") if isinstance(text, bytes) else "no text"
        asked = getattr(ask, "__name__", "the driver")
        return DriverError(f"{asked}: {name} ({says})", lost=name in _LOST)


def _package() -> Any:
    try:
        return importlib.import_module(f"{CUDA.package}.driver")
    except ModuleNotFoundError as error:
        raise DeviceError(f"CUDA needs the Python package {CUDA.package}; {CUDA.remedy}") from error
