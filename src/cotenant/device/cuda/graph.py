"""What is queued while it is recorded goes in; a graph that is queued by one call comes out."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from cotenant.device.cuda.api import Cuda
from cotenant.device.cuda.queue import CudaQueue
from cotenant.device.elastic.driver import Queue


class CudaGraph:
    """Launches with their arguments, ready to be queued. It runs once at a time."""

    def __init__(
        self,
        cuda: Cuda,
        queue: CudaQueue,
        sides: Sequence[CudaQueue],
        fill: Callable[[Queue, Sequence[Queue]], object],
    ) -> None:
        """Record what `fill` queues; none of it runs.

        Args:
            queue: nobody else uses it, nor the sides, which end joined in it.

        Raises:
            DriverError: something that was queued cannot be recorded.
        """
        raw = cuda.raw
        # Only this thread's calls are recorded, and other threads may do what they like.
        mode = raw.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        cuda.call(raw.cuStreamBeginCapture, queue.native, mode)
        try:
            fill(queue, sides)
        except BaseException:
            code, *graphs = raw.cuStreamEndCapture(queue.native)
            if not code:  # what was queued until then can be recorded, but is not all
                cuda.release(raw.cuGraphDestroy, *graphs)
            raise
        graph = cuda.call(raw.cuStreamEndCapture, queue.native)
        try:
            self.native: Any = cuda.call(raw.cuGraphInstantiate, graph, 0)
        finally:
            cuda.release(raw.cuGraphDestroy, graph)
        destroy = raw.cuGraphExecDestroy
        weakref.finalize(self, cuda.release, destroy, self.native).atexit = False
        cuda.call(raw.cuGraphUpload, self.native, queue.native)
        queue.finish()
