"""A device goes in; while its block runs, a load of ours keeps the device busy from beside.

The load stands for a tenant whose kernels nobody knows: it reads and writes memory and
multiplies, on as many blocks as fill the device, in a queue of its own.
"""

import threading
from types import TracebackType
from typing import Self

import numpy as np
import pyopencl as cl

from cotenant.device.opencl.place import Place, build

_SOURCE = """
__kernel void background(__global float* x, const int turns) {
  float sum = 0.0f;
  for (int i = 0; i < turns; ++i) {
    const size_t at = (get_global_id(0) + i * get_global_size(0)) % ELEMENTS;
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
        profiling = cl.command_queue_properties.PROFILING_ENABLE
        self._queue = cl.CommandQueue(place.context, properties=profiling)
        source = f"#define ELEMENTS {_ELEMENTS}\n{_SOURCE}"
        self._kernel = cl.Kernel(build(place, source, "background"), "background")
        start = np.ones(_ELEMENTS, np.float32)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        self._memory = cl.Buffer(place.context, flags, hostbuf=start)
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
        self._launch().wait()
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

    def _measure(self) -> None:
        self._launch().wait()  # the device may compile at the first launch
        event = self._launch()
        event.wait()
        self.once_s = float(event.profile.end - event.profile.start) * 1e-9

    def _launch(self) -> cl.Event:
        self._kernel.set_args(self._memory, np.int32(self._turns))
        size = (self._blocks * _THREADS,)
        event = cl.enqueue_nd_range_kernel(self._queue, self._kernel, size, (_THREADS,))
        self._queue.flush()
        return event

    def _run(self) -> None:
        waiting = [self._launch() for _ in range(_AHEAD)]
        while not self._stop.is_set():
            waiting.pop(0).wait()
            waiting.append(self._launch())
        self._queue.finish()
