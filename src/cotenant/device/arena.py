"""Tensors in memory that two interpreters share: arrays go in, their places come out, and back.

The memory is an anonymous file (memfd): it has no name, so nothing of it can be left
behind, whoever is killed. The two sides take turns, so there are no locks. Either side may
make it larger; the other maps it anew when it is told a place past its own end.
"""

import math
import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cotenant.core.request import Tensor

Place = tuple[str, str, list[int], int, int]
"""Name, element type, shape, offset in bytes, length in bytes."""

MESSAGE_BYTES = 1 << 17
"""Longest message that travels beside the arena; it holds places, never tensors."""

_ALIGNMENT = 64
_PAGE = mmap.PAGESIZE
_TEXT = "object"


class Arena:
    """One side's view of the shared memory."""

    def __init__(self, fd: int) -> None:
        """`fd` is owned by the arena from now on."""
        self.fd = fd
        self._map: mmap.mmap | None = None
        self._memory: Tensor = np.empty(0, np.uint8)

    @classmethod
    def create(cls) -> "Arena":
        return cls(os.memfd_create("cotenant", os.MFD_CLOEXEC))

    def write(self, parts: Mapping[str, Sequence[Tensor]], start: int = 0) -> list[Place]:
        """Put each name's parts, joined along axis 0, one after the other from `start` on."""
        plan, end = _plan(parts, start)
        self._reach(end)
        for (_, _, _, offset, length), arrays in zip(plan, parts.values(), strict=True):
            _fill(self._memory[offset : offset + length], arrays)
        return plan

    def read(self, places: Iterable[Place]) -> dict[str, Tensor]:
        """Views of what stands at these places; they are valid until the next `write`."""
        tensors: dict[str, Tensor] = {}
        for name, dtype, shape, offset, length in places:
            self._reach(offset + length)
            raw = self._memory[offset : offset + length]
            tensors[name] = (
                _texts(raw.tobytes(), shape)
                if dtype == _TEXT
                else raw.view(np.dtype(dtype)).reshape(shape)
            )
        return tensors

    def close(self) -> None:
        """Let go of the memory; views that still exist keep it mapped until they end."""
        self._memory, self._map = np.empty(0, np.uint8), None
        os.close(self.fd)

    def _reach(self, end: int) -> None:
        if end <= len(self._memory):
            return
        size = os.fstat(self.fd).st_size
        if end > size:
            size = -(-end // _PAGE) * _PAGE
            os.ftruncate(self.fd, size)
        self._map = mmap.mmap(self.fd, size)
        self._memory = np.frombuffer(self._map, np.uint8)


def end_of(places: Sequence[Place]) -> int:
    """First free byte behind these places, aligned."""
    return _aligned(max((offset + length for *_, offset, length in places), default=0))


def _plan(parts: Mapping[str, Sequence[Tensor]], start: int) -> tuple[list[Place], int]:
    places: list[Place] = []
    for name, arrays in parts.items():
        first = arrays[0]
        shape = list(first.shape)
        if len(arrays) > 1:
            shape[0] = sum(array.shape[0] for array in arrays)
        if first.dtype == object:
            dtype = _TEXT
            length = sum(4 + len(_bytes(one)) for array in arrays for one in array.flat)
        else:
            dtype, length = first.dtype.name, first.dtype.itemsize * math.prod(shape)
        places.append((name, dtype, shape, start, length))
        start = _aligned(start + length)
    return places, start


def _fill(target: Tensor, arrays: Sequence[Tensor]) -> None:
    offset = 0
    for array in arrays:
        if array.dtype == object:
            packed = b"".join(
                len(text).to_bytes(4, "little") + text for text in map(_bytes, array.flat)
            )
            target[offset : offset + len(packed)] = np.frombuffer(packed, np.uint8)
            offset += len(packed)
        else:
            end = offset + array.nbytes
            target[offset:end].view(array.dtype).reshape(array.shape)[...] = array
            offset = end


def _texts(raw: bytes, shape: Sequence[int]) -> Tensor:
    texts = np.empty(math.prod(shape), object)
    offset = 0
    for index in range(len(texts)):
        length = int.from_bytes(raw[offset : offset + 4], "little")
        texts[index] = raw[offset + 4 : offset + 4 + length]
        offset += 4 + length
    return texts.reshape(tuple(shape))


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
