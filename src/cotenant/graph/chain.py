"""A `Skeleton` goes in; its nodes in a row, with work and crossing bytes at each place, come out.

Position `p` of a chain is the place before node `p`. A tensor crosses it if a node before it
writes the tensor and a node after it reads the tensor. Constants and weights never cross: each
segment has its own copy of those that it reads.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from cotenant.core.errors import ModelError
from cotenant.graph.flops import node_flops
from cotenant.graph.shapes import TensorType, names_read, tensor_types
from cotenant.graph.wire import Skeleton

_KERNEL_STARTS = frozenset(
    ["Conv", "ConvTranspose", "Gemm", "MatMul", "RNN", "GRU", "LSTM"]
    + ["ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "DequantizeLinear"]
)


class Chain(NamedTuple):
    """A model as a row of nodes that can be cut."""

    skeleton: Skeleton
    nodes: tuple[NodeProto, ...]
    """Nodes that compute, in the order of the file."""
    types: Mapping[str, TensorType]
    written_at: Mapping[str, int]
    """Index of the node that writes a tensor."""
    last_read_at: Mapping[str, int]
    """Index of the last node that reads a tensor."""
    work: tuple[int, ...]
    """Operations of each node, and one for each element that it writes."""
    crossing_bytes: tuple[int, ...]
    """Bytes that cross each position, from before the first node to behind the last."""
    cuts: tuple[int, ...]
    """Positions where the chain may be cut, without its two ends."""


def chain_of(skeleton: Skeleton) -> Chain:
    """Lay a model out as a chain.

    Raises:
        ModelError: an output of the model is not computed by it.
    """
    graph = skeleton.model.graph
    nodes = tuple(node for node in graph.node if node.op_type != "Constant")
    types = tensor_types(skeleton)
    written_at = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    readers: dict[str, list[int]] = {}
    for at, node in enumerate(nodes):
        for name in dict.fromkeys(names_read(node)):
            readers.setdefault(name, []).append(at)
    for value in graph.output:
        if value.name not in written_at:
            raise ModelError(
                f"output {value.name!r} of graph {graph.name!r} is a constant or an input, "
                "which no segment computes; remove it from the outputs"
            )
    crossing = [0] * (len(nodes) + 2)
    closed = [0] * (len(nodes) + 2)
    outputs = {value.name for value in graph.output}
    for name, first in written_at.items():
        last = readers.get(name, [first])[-1]
        kind = types.get(name)
        # Differences now, sums below: the tensor crosses positions first + 1 to last.
        size_bytes = kind.size_bytes if kind else 0
        crossing[first + 1] += size_bytes
        crossing[last + 1] -= size_bytes
        if kind is None or _is_glued(nodes, first, readers.get(name, []), name in outputs):
            closed[first + 1] += 1
            closed[last + 1] -= 1
    shut = list(itertools.accumulate(closed))
    return Chain(
        skeleton=skeleton,
        nodes=nodes,
        types=types,
        written_at=written_at,
        last_read_at={name: places[-1] for name, places in readers.items()},
        work=tuple(_work(node, types) for node in nodes),
        crossing_bytes=tuple(itertools.accumulate(crossing))[:-1],
        cuts=tuple(position for position in range(1, len(nodes)) if not shut[position]),
    )


def segment_skeleton(chain: Chain, start: int, end: int) -> Skeleton:
    """The model of nodes `start` to `end`, and no more weights than these read."""
    whole, payloads = chain.skeleton
    nodes = chain.nodes[start:end]
    read = set(itertools.chain.from_iterable(map(names_read, nodes)))
    model = ModelProto()
    model.CopyFrom(whole)
    model.ClearField("graph")
    graph = model.graph
    graph.name = f"{whole.graph.name}/{start}-{end}"
    graph.node.extend(
        node for node in whole.graph.node if node.op_type == "Constant" and node.output[0] in read
    )
    graph.node.extend(nodes)
    graph.initializer.extend(each for each in whole.graph.initializer if each.name in read)
    graph.sparse_initializer.extend(
        each for each in whole.graph.sparse_initializer if each.values.name in read
    )
    kept = tuple(payload for payload in payloads if payload.tensor.name in read)
    weights = {each.name for each in graph.initializer} | {each.tensor.name for each in kept}
    graph.input.extend(
        value for value in whole.graph.input if value.name in read and value.name not in weights
    )
    graph.input.extend(
        _value(chain, name) for name, at in chain.written_at.items() if at < start and name in read
    )
    declared = {value.name: value for value in whole.graph.output}
    graph.output.extend(
        declared.get(name) or _value(chain, name)
        for name, at in chain.written_at.items()
        if start <= at < end and (name in declared or chain.last_read_at.get(name, 0) >= end)
    )
    return Skeleton(model, kept)


def _is_glued(
    nodes: Sequence[NodeProto], writer: int, readers: Sequence[int], is_output: bool
) -> bool:
    """Whether a runtime may fuse the writer of a tensor with its reader."""
    if nodes[writer].op_type == "DequantizeLinear":
        return True  # the operator behind it may be computed in integers
    return len(readers) == 1 and not is_output and nodes[readers[0]].op_type not in _KERNEL_STARTS


def _work(node: NodeProto, types: Mapping[str, TensorType]) -> int:
    written = sum(types[name].elements for name in node.output if name in types)
    return node_flops(node, types) + written


def _value(chain: Chain, name: str) -> ValueInfoProto:
    element, shape = chain.types[name]
    return helper.make_tensor_value_info(name, element, shape)
