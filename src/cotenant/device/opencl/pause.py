"""A device goes in; the word that the host sets and its kernels look at comes out."""

import numpy as np
import pyopencl as cl

from cotenant.device.opencl.place import Place


class PauseWord:
    """While it is set, preemptive kernels claim no tile; any thread may set it."""

    def __init__(self, place: Place) -> None:
        self._word = np.zeros(1, np.uint32)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
        self.buffer = cl.Buffer(place.context, flags, hostbuf=self._word)

    @property
    def is_set(self) -> bool:
        return bool(self._word[0])

    def set(self) -> None:
        self._word[0] = 1

    def clear(self) -> None:
        self._word[0] = 0
