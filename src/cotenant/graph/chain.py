"""A `Skeleton` goes in; its nodes in a row, with work and crossing bytes at each place, come out.

Position `p` of a chain is the place before node `p`. A tensor crosses it if a node before it
writes the tensor and a node after it reads the tensor. Constants and weights never cross: each
segment has its own copy of those that it reads.

A runtime fuses a normalisation, an activation or a sum with the kernel before it, and fused
arithmetic rounds differently. It does so across a tensor with one reader, so such a tensor is
never cut, unless its reader begins a kernel of its own. Across a tensor with several readers
(a shortcut) it may do so, too; a cut is exact where whatever crosses is read behind it only
by beginnings of kernels and by operators that give the same bits fused or not.
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
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "RNN", "GRU", "LSTM"}
    | {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "DequantizeLinear"}
)
_SAME_BITS = frozenset({"MaxPool", "AveragePool", "Transpose", "Reshape", "Flatten", "Shape"})


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
    exact_cuts: tuple[int, ...]
    """Positions where a cut changes no bit of the results; without the two ends."""
    cuts: tuple[int, ...]
    """Positions where a cut changes results by rounding at most."""


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
    crossing, glued, joined = ([0] * (len(nodes) + 2) for _ in range(3))
    for name, first in written_at.items():
        places = readers.get(name, [first])
        # Differences now, sums below: the tensor crosses positions first + 1 to its last reader.
        _add(crossing, first, places[-1], types[name].size_bytes if name in types else 0)
        if name not in types or nodes[first].op_type == "DequantizeLinear":
            # Behind the latter the runtime may compute in integers, if it sees both.
            _add(glued, first, places[-1], 1)
            _add(joined, first, places[-1], 1)
            continue
        fused = [place for place in places if nodes[place].op_type not in _KERNEL_STARTS]
        if fused and len(places) == 1:
            _add(glued, first, fused[0], 1)
            _add(joined, first, fused[0], 1)
        elif rounds := [at for at in fused if nodes[at].op_type not in _SAME_BITS]:
            _add(joined, first, rounds[-1], 1)
    return Chain(
        skeleton=skeleton,
        nodes=nodes,
        types=types,
        written_at=written_at,
        last_read_at={name: places[-1] for name, places in readers.items()},
        work=tuple(_work(node, types) for node in nodes),
        crossing_bytes=tuple(itertools.accumulate(crossing))[:-1],
        exact_cuts=_open(joined),
        cuts=_open(glued),
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


def _add(differences: list[int], writer: int, reader: int, amount: int) -> None:
    differences[writer + 1] += amount
    differences[reader + 1] -= amount


def _open(differences: Sequence[int]) -> tuple[int, ...]:
    """Positions between the two ends that nothing closes."""
    sums = tuple(itertools.accumulate(differences))
    return tuple(position for position in range(1, len(sums) - 2) if not sums[position])


def _work(node: NodeProto, types: Mapping[str, TensorType]) -> int:
    written = sum(types[name].elements for name in node.output if name in types)
    return node_flops(node, types) + written


def _value(chain: Chain, name: str) -> ValueInfoProto:
    element, shape = chain.types[name]
    return helper.make_tensor_value_info(name, element, shape)
