"""A weight's name, shape and place in the graph go in; its values come out, the same everywhere.

The draw uses only what is exact on every machine: the raw integers of numpy's PCG64, whose
stream numpy guarantees for a seed for ever (its `Generator` methods carry no such promise),
sums of integers, and one multiplication and one addition in float32, which IEEE 754 rounds
in one way only. A value is the sum of four uniform integers of 16 bits, centred and scaled:
near to normal, and never further than 3.46 standard deviations from its mean.
"""

import hashlib
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.random import PCG64
from onnx import NodeProto

_PIECE = 1 << 18
_CENTRE = 2 * 0xFFFF
_SIGMA = math.sqrt(4 * ((1 << 32) - 1) / 12)
_LANES = np.uint64(0x0000FFFF0000FFFF)
_LOW = np.uint64(0xFFFFFFFF)


class Weight(NamedTuple):
    """One weight before its values are drawn."""

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def draw(weight: Weight, stream: str) -> Iterator[bytes]:
    """Values of the weight as little-endian float32, in pieces.

    `stream` names the model and the seed; each weight has a stream of its own, so the values
    do not depend on which weights were drawn before.
    """
    key = hashlib.sha256(f"{stream}/{weight.name}".encode()).digest()
    bits = PCG64(int.from_bytes(key, "big"))
    scale, mean = np.float32(weight.std / _SIGMA), np.float32(weight.mean)
    for start in range(0, weight.size, _PIECE):
        total = _sum_of_four(bits.random_raw(min(_PIECE, weight.size - start)))
        yield (total.astype(np.float32) * scale + mean).astype("<f4").tobytes()


def place(name: str, shape: tuple[int, ...], node: NodeProto, index: int, damped: bool) -> Weight:
    """Mean and deviation for the weight that `node` reads as input `index`.

    Kernels follow He et al. 2015 (variance 2 / fan-in, so that a rectified signal keeps its
    size); recurrent layers have variance 1 / fan-in. `damped` marks a node whose output is not
    rectified but added to a shortcut, where each sum would double the variance, or given to
    the final softmax, which would saturate.
    """
    kind = node.op_type
    if kind == "Conv" and index == 1:
        return Weight(name, shape, 0.0, math.sqrt(2 / math.prod(shape[1:])))
    if kind == "Gemm" and index == 1:
        transposed = any(each.name == "transB" and each.i for each in node.attribute)
        gain = 1 if damped else 2
        return Weight(name, shape, 0.0, math.sqrt(gain / shape[1 if transposed else 0]))
    if kind in ("LSTM", "GRU") and index in (1, 2):
        return Weight(name, shape, 0.0, math.sqrt(1 / shape[2]))
    if kind == "BatchNormalization" and index in (1, 4):
        # Four deviations of 0.1 around 1: scale and variance stay positive.
        return Weight(name, shape, 0.35 if damped and index == 1 else 1.0, 0.1)
    if kind == "Mul":
        return Weight(name, shape, 1.0, 0.1)
    return Weight(name, shape, 0.0, 0.1)


def _sum_of_four(raw: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
    pairs = (raw & _LANES) + ((raw >> np.uint64(16)) & _LANES)
    total = (pairs & _LOW) + (pairs >> np.uint64(32))
    return total.astype(np.int32) - np.int32(_CENTRE)
