"""A device goes in; while its block runs, a load of ours keeps the device busy from beside.

The load stands for a tenant whose kernels nobody knows: it reads and writes memory and
multiplies, on as many blocks as fill the device, in a queue of its own.
"""

import threading
from types import TracebackType
from typing import Self

import numpy as np

from cotenant.device.bundle import Code
from cotenant.device.elastic.driver import Event, Queue
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.sampling import once_s

_HEADS = {
    "opencl": """
#define FIRST get_global_id(0)
#define STRIDE get_global_size(0)
__kernel void background(__global float* x, const int turns) {""",
    "cuda": """
#define FIRST ((size_t)blockIdx.x * blockDim.x + threadIdx.x)
#define STRIDE ((size_t)gridDim.x * blockDim.x)
extern "C" __global__ void background(float* x, const int turns) {""",
}
"""By the language of the device."""
_BODY = """
  float sum = 0.0f;
  for (int i = 0; i < turns; ++i) {
    const size_t at = (FIRST + i * STRIDE) % ELEMENTS;
    sum = sum * 0.5f + x[at];
    x[at] = sum;
  }
}
"""
_ELEMENTS = 1 << 20
_BLOCKS_PER_UNIT, _THREADS = 4, 64
_WANTED_S = 2e-4
"""Long beside what a launch costs, short beside what is measured."""
_AHEAD = 2
"""Launches that stand in the queue: when one ends, the next is there."""


class Background:
    """A load that is on between `with` and the end of its block."""

    def __init__(self, place: Place) -> None:
        """Build the load and find how much of it lasts about 0.2 ms.

        Args:
            place: its queue, which takes times, is not the load's.
        """
        device = place.device
        self._queue = device.queue(timed=True)
        source = f"#define ELEMENTS {_ELEMENTS}\n{_HEADS[device.language]}{_BODY}"
        self._kernel = device.build(Code(source), "background").kernel("background")
        self._memory = device.buffer(4 * _ELEMENTS)
        self._queue.write(self._memory, np.ones(_ELEMENTS, np.float32))
        self._blocks = _BLOCKS_PER_UNIT * place.width
        self._turns, self.once_s = 64, 0.0
        self._measure()
        self._turns = int(np.clip(self._turns * _WANTED_S / max(self.once_s, 1e-9), 1, 1 << 20))
        self._measure()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.launch(self._queue).wait()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def launch(self, queue: Queue) -> Event:
        """Once, in a queue of the caller's; not while its block runs."""
        event = queue.launch(
            self._kernel,
            (self._blocks, 1, 1),
            (_THREADS, 1, 1),
            (self._memory, np.int32(self._turns)),
        )
        queue.flush()
        return event

    def _measure(self) -> None:
        self.once_s = once_s(lambda: self.launch(self._queue))

    def _run(self) -> None:
        waiting = [self.launch(self._queue) for _ in range(_AHEAD)]
        while not self._stop.is_set():
            waiting.pop(0).wait()
            waiting.append(self.launch(self._queue))
        self._queue.finish()
