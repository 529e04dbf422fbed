"""A `Skeleton` goes in; the bytes of one ONNX file come out, and its length before they do.

ONNX files are protocol buffers: a field is a tag, a length and its content. All lengths are
known beforehand, so weights pass through in pieces, and a model of any size is written with
the memory of its graph and one piece. `read` is the way back.
"""

from collections.abc import Iterable
from typing import NamedTuple

from onnx import GraphProto, ModelProto, TensorProto

from cotenant.graph.cache import Sink

_LENGTH_DELIMITED = 2
_GRAPH = ModelProto.GRAPH_FIELD_NUMBER
_INITIALIZER = GraphProto.INITIALIZER_FIELD_NUMBER
_RAW_DATA = TensorProto.RAW_DATA_FIELD_NUMBER


class Payload(NamedTuple):
    """One large weight, whose values are somewhere else."""

    tensor: TensorProto
    """Name, type and shape."""
    size_bytes: int
    """Length of all pieces together."""
    pieces: Iterable[bytes]
    """Raw values in order, little-endian."""


class Skeleton(NamedTuple):
    """A model whose large weights are not in memory."""

    model: ModelProto
    payloads: tuple[Payload, ...]


def write_model(sink: Sink, skeleton: Skeleton) -> None:
    """Write a model file, with the payloads behind the initializers that are in the graph."""
    graph = skeleton.model.graph.SerializeToString(deterministic=True)
    sink.write(_without_graph(skeleton.model))
    sink.write(_head(_GRAPH, _graph_size_bytes(skeleton)))
    sink.write(graph)
    for payload in skeleton.payloads:
        sink.write(_head(_INITIALIZER, _tensor_size_bytes(payload)))
        sink.write(payload.tensor.SerializeToString(deterministic=True))
        sink.write(_head(_RAW_DATA, payload.size_bytes))
        for piece in payload.pieces:
            sink.write(piece)


def model_size_bytes(skeleton: Skeleton) -> int:
    """Length of what `write_model` writes."""
    graph_bytes = _graph_size_bytes(skeleton)
    return len(_without_graph(skeleton.model)) + len(_head(_GRAPH, graph_bytes)) + graph_bytes


def varint(value: int) -> bytes:
    """An unsigned integer, seven bits a byte, lowest first.

    >>> varint(1).hex(), varint(300).hex()
    ('01', 'ac02')
    """
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _head(field: int, length: int) -> bytes:
    return varint(field << 3 | _LENGTH_DELIMITED) + varint(length)


def _without_graph(model: ModelProto) -> bytes:
    outer = ModelProto()
    outer.CopyFrom(model)
    outer.ClearField("graph")
    return outer.SerializeToString(deterministic=True)


def _tensor_size_bytes(payload: Payload) -> int:
    head = _head(_RAW_DATA, payload.size_bytes)
    return payload.tensor.ByteSize() + len(head) + payload.size_bytes


def _graph_size_bytes(skeleton: Skeleton) -> int:
    tensors = [_tensor_size_bytes(payload) for payload in skeleton.payloads]
    heads = [len(_head(_INITIALIZER, size)) for size in tensors]
    return skeleton.model.graph.ByteSize() + sum(tensors) + sum(heads)
