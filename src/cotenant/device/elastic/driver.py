"""What this room asks of a driver: buffers and kernels go in, launches and events come out.

Everything else here is written against these few operations, once; `device/opencl` and
`device/cuda` give them. A driver is foreign code: whatever it refuses is a `DriverError`.

Where one object of a driver is an argument of another's method, the method takes out what it
knows by `native`; objects of two drivers never meet.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

import numpy as np

from cotenant.core.errors import DeviceError
from cotenant.device.bundle import Array, Code, Triple
from cotenant.device.tuning import Here


class DriverError(DeviceError):
    """A driver has refused something, or a kernel has failed on the device."""

    def __init__(self, message: str, *, lost: bool = False) -> None:
        """With `lost`, nothing works any more in this interpreter, and a new one is needed."""
        super().__init__(message)
        self.lost = lost


class Priority(Enum):
    """Which queue's kernels a device begins first, where it can tell queues apart."""

    HIGH = "high"
    ORDINARY = "ordinary"
    LOW = "low"


class Buffer(Protocol):
    """Memory of the device."""

    native: Any

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def constant(self) -> bool:
        """Whether it holds weights, which no kernel writes."""

    def part(self, offset_bytes: int, size_bytes: int) -> "Buffer":
        """Bytes of it as a buffer; the offset is a multiple of the device's alignment."""


class Word(Protocol):
    """Four bytes that the host writes and kernels see while they run."""

    @property
    def buffer(self) -> Buffer: ...

    def put(self, value: int) -> "Event | None":
        """Write it, whatever is queued or runs; the event is when kernels see it, `None`: now."""


class Event(Protocol):
    """The end of something that was queued."""

    native: Any

    @property
    def ended(self) -> bool:
        """Whether it has come; an error ends what was queued, too."""

    def wait(self) -> None:
        """Return when it has come.

        Raises:
            DriverError: what was queued has failed.
        """

    @property
    def lasted_s(self) -> float:
        """How long the device took, in a queue that takes times."""

    def since_s(self, first: "Event") -> float:
        """From when `first` could have started, waiting for its turn included, to this end."""


class Kernel(Protocol):
    """One entry of a program."""

    native: Any

    @property
    def name(self) -> str: ...

    @property
    def most_threads(self) -> int:
        """The largest block that the device runs it with."""


class Program(Protocol):
    """A source text, built."""

    def kernel(self, name: str, shared_bytes: int = 0) -> Kernel:
        """An entry; each block gets so much shared memory beside what the source declares."""


Argument = Buffer | np.generic
"""A scalar has the type that the kernel's parameter has."""


class Recording(Protocol):
    """Launches that the device's driver keeps, to be queued all at once."""

    native: Any


class Queue(Protocol):
    """Runs what it is given in its order."""

    native: Any

    def launch(
        self,
        kernel: Kernel,
        blocks: Triple,
        block: Triple,
        arguments: Sequence[Argument],
        behind: Sequence[Event] = (),
    ) -> Event:
        """Queue so many blocks of a kernel behind events of other queues."""

    def replay(self, recording: Recording) -> Event:
        """Queue all launches of a recording; the event is the end of the last."""

    def upload(self, buffer: Buffer, array: Array) -> Event:
        """Queue a copy to the device; the array may be changed when the event has come."""

    def download(self, buffer: Buffer, shape: Sequence[int], dtype: str) -> tuple[Array, Event]:
        """Queue a copy to the host; the array holds until the buffer is next copied from."""

    def write(self, buffer: Buffer, array: Array) -> None:
        """Copy to the device; has happened on return."""

    def read(self, buffer: Buffer, array: Array) -> None:
        """Copy to the host, behind all that is queued; has happened on return."""

    def fill(self, buffer: Buffer, word: int, size_bytes: int) -> Event:
        """Queue that the first bytes of a buffer, whole words of four, become this word."""

    def copy(self, target: Buffer, source: Buffer) -> Event:
        """Queue a copy of a whole buffer on the device."""

    def marker(self) -> Event:
        """The end of all that is queued until now."""

    def stand_behind(self, events: Sequence[Event]) -> None:
        """What is queued from now on waits for events of other queues."""

    def flush(self) -> None:
        """See that the device gets what is queued; only then may other queues wait for it."""

    def finish(self) -> None:
        """Return when all that is queued has ended."""


class Accelerator(Protocol):
    """One device, opened by this interpreter."""

    name: str
    here: Here
    """What a tuning table made on this device says of it."""
    language: str
    """Of the kernels that it builds, as in a bundle's target: 'opencl' or 'cuda'."""
    width: int
    """Compute units or multiprocessors: as many physical blocks fill it at least once."""
    unit_threads: int
    """Threads that one of them holds at a time."""
    unit_blocks: int | None
    """Blocks that one of them holds at a time, however small; `None` where nobody knows."""
    memory_bytes: int
    alignment_bytes: int
    """Of the parts of a buffer."""
    processor: bool
    """Whether it is the processor that this program runs on."""

    def refusal(self, target: str) -> str | None:
        """Why a bundle for this target cannot run here; `None` where it can."""

    def build(self, code: Code, name: str) -> Program:
        """Compile or load the code of a kernel.

        Raises:
            DeviceError: it is refused; the compiler's log is in the message.
        """

    def buffer(self, size_bytes: int) -> Buffer:
        """Memory with anything in it.

        Raises:
            DriverError: the device has not so much left.
        """

    def constant(self, array: Array) -> Buffer:
        """Memory that holds an array for good.

        Raises:
            DriverError: the device has not so much left.
        """

    def word(self) -> Word:
        """A word that is nought."""

    def queue(self, priority: Priority = Priority.ORDINARY, *, timed: bool = False) -> Queue:
        """A queue of its own order; with `timed` its events say how long things took."""

    def record(
        self, fill: Callable[[Queue, Sequence[Queue]], object], sides: int
    ) -> Recording | None:
        """Keep what `fill` queues, given a queue and so many side queues that end joined in it.

        Returns:
            `None` where the driver keeps no launches.
        """


class Workers(Protocol):
    """The threads of a device that is the processor; none of any other."""

    def serve(self, critical: bool) -> None:
        """Take the class of what is on the device."""

    def ran_s(self) -> float:
        """A clock that stands still while other programs keep the device from running."""


def wait_for(events: Sequence[Event]) -> None:
    """Return when all of these have come."""
    for event in events:
        event.wait()
