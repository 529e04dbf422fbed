"""A stream goes in; the end of what stands in it now comes out as an event.

Events of the driver are kept and used again, since one is needed for each launch.
"""

from typing import Any

from cotenant.device.cuda.api import Cuda
from cotenant.device.elastic.driver import Event


class CudaEvent:
    """The end of what was queued, and in a queue that takes times the moment before it, too."""

    __slots__ = ("_before", "_events", "native")

    def __init__(self, events: "Events", native: Any, before: "CudaEvent | None") -> None:
        self._events = events
        self.native = native
        self._before = before

    def __del__(self) -> None:
        self._events.free.append(self.native)

    @property
    def ended(self) -> bool:
        return self._events.cuda.done(self.native)

    def wait(self) -> None:
        cuda = self._events.cuda
        cuda.call(cuda.raw.cuEventSynchronize, self.native)

    @property
    def lasted_s(self) -> float:
        return self.since_s(self)

    def since_s(self, first: Event) -> float:
        """The moment before `first` comes when its queue gets to it: its turn is still to come."""
        cuda = self._events.cuda
        start = first._before.native  # type: ignore[attr-defined]
        elapsed_ms: float = cuda.call(cuda.raw.cuEventElapsedTime, start, self.native)
        return elapsed_ms * 1e-3


class Events:
    """Makes events of one sort: with times, or without, which are cheaper."""

    def __init__(self, cuda: Cuda, *, timed: bool) -> None:
        self.cuda = cuda
        self.free: list[Any] = []
        self.timed = timed
        flags = cuda.raw.CUevent_flags
        # Who waits sleeps: a thread that spins above all others would keep a core from them.
        self._flags = int(flags.CU_EVENT_BLOCKING_SYNC)
        if not timed:
            self._flags |= int(flags.CU_EVENT_DISABLE_TIMING)

    def record(self, stream: Any, before: CudaEvent | None = None) -> CudaEvent:
        """The end of all that stands in a stream."""
        cuda = self.cuda
        try:
            native = self.free.pop()
        except IndexError:
            native = cuda.call(cuda.raw.cuEventCreate, self._flags)
        event = CudaEvent(self, native, before)
        cuda.call(cuda.raw.cuEventRecord, native, stream)
        return event
