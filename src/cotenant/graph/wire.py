"""A model without weights and a row of weights go in; the bytes of one ONNX file come out.

ONNX files are protocol buffers: a field is a tag, a length and its content. All lengths are
known beforehand, so the weights can pass through in pieces, and a file of any size is written
with the memory of one piece.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from onnx import GraphProto, ModelProto, TensorProto

from cotenant.graph.cache import Sink

_LENGTH_DELIMITED = 2


class Payload(NamedTuple):
    """One weight on its way into a file."""

    tensor: TensorProto
    """Name, type and shape, and the values too where there are no pieces."""
    size_bytes: int
    """Length of all pieces together."""
    pieces: Iterable[bytes]
    """Raw values in order, little-endian."""


def write_model(sink: Sink, model: ModelProto, payloads: Sequence[Payload]) -> None:
    """Write `model` with `payloads` behind the initializers that it has already."""
    outer, graph = _without_graph(model), model.graph.SerializeToString(deterministic=True)
    sink.write(outer)
    sink.write(_head(ModelProto.GRAPH_FIELD_NUMBER, _graph_size_bytes(len(graph), payloads)))
    sink.write(graph)
    for payload in payloads:
        sink.write(_head(GraphProto.INITIALIZER_FIELD_NUMBER, _tensor_size_bytes(payload)))
        sink.write(payload.tensor.SerializeToString(deterministic=True))
        if payload.size_bytes:
            sink.write(_head(TensorProto.RAW_DATA_FIELD_NUMBER, payload.size_bytes))
            for piece in payload.pieces:
                sink.write(piece)


def model_size_bytes(model: ModelProto, payloads: Sequence[Payload]) -> int:
    """Length of what `write_model` writes."""
    graph = _graph_size_bytes(model.graph.ByteSize(), payloads)
    return len(_without_graph(model)) + len(_head(ModelProto.GRAPH_FIELD_NUMBER, graph)) + graph


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
    size = payload.tensor.ByteSize()
    if payload.size_bytes:
        size += len(_head(TensorProto.RAW_DATA_FIELD_NUMBER, payload.size_bytes))
    return size + payload.size_bytes


def _graph_size_bytes(graph_bytes: int, payloads: Sequence[Payload]) -> int:
    tensors = [_tensor_size_bytes(payload) for payload in payloads]
    heads = [len(_head(GraphProto.INITIALIZER_FIELD_NUMBER, size)) for size in tensors]
    return graph_bytes + sum(tensors) + sum(heads)
