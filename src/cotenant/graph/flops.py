"""A graph and its tensor types go in; floating-point operations come out.

A multiplication with its addition counts as two operations. Only operators that are made of
them count: convolutions, matrix products and recurrent layers. The rest (activations,
normalisations, pooling) is some percent of the work, and limited by memory rather than by
arithmetic. Axes of unknown length count as one, so a figure is for a batch of one.
"""

import math
from collections.abc import Mapping

from onnx import NodeProto, helper

from cotenant.graph.shapes import TensorType, tensor_types
from cotenant.graph.wire import Skeleton

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def model_flops(skeleton: Skeleton) -> int:
    """Operations of one inference at a batch of one."""
    types = tensor_types(skeleton)
    return sum(node_flops(node, types) for node in skeleton.model.graph.node)


def node_flops(node: NodeProto, types: Mapping[str, TensorType]) -> int:
    """Operations of one node; 0 where it has none or a shape that matters is not known."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul", *_GATES):
        return 0
    signal, weight = (types[name].lengths if name in types else None for name in node.input[:2])
    if signal is None or weight is None:
        return 0
    match node.op_type:
        case "Conv":  # weight: [out, in / group, *kernel]
            written = types.get(node.output[0])
            return 2 * written.elements * math.prod(weight[1:]) if written else 0
        case "ConvTranspose":  # weight: [in, out / group, *kernel]; each input element spreads
            return 2 * math.prod(signal) * math.prod(weight[1:])
        case "Gemm":
            transposed = _attribute(node, "transA", 0)
            rows, inner = (signal[1], signal[0]) if transposed else (signal[0], signal[1])
            columns = weight[0] if _attribute(node, "transB", 0) else weight[1]
            return 2 * rows * inner * columns
        case "MatMul":
            batches, inner, columns = _product(signal, weight)
            return 2 * batches * inner * columns
        case _:  # signal: [steps, batch, in]; weight: [directions, gates * hidden, in]
            steps, rows, features = signal
            directions, gates_hidden, _ = weight
            hidden = gates_hidden // _GATES[node.op_type]
            return 2 * steps * rows * directions * gates_hidden * (features + hidden)


def _product(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, int, int]:
    """Rows of all batches, inner length and columns of a product as numpy's `matmul` has it."""
    left = left if len(left) > 1 else (1, *left)
    right = right if len(right) > 1 else (*right, 1)
    rank = max(len(left), len(right)) - 2
    outer = [
        max(pair)
        for pair in zip(
            (1,) * (rank - len(left) + 2) + left[:-2],
            (1,) * (rank - len(right) + 2) + right[:-2],
            strict=True,
        )
    ]
    return math.prod(outer) * left[-2], left[-1], right[-1]


def _attribute(node: NodeProto, name: str, default: int) -> int:
    for attribute in node.attribute:
        if attribute.name == name:
            return int(helper.get_attribute_value(attribute))
    return default
