"""The path of a model file goes in; its `Skeleton` comes out, with large weights left on disk.

The file is walked field by field and the values of large weights are skipped, so a model of
any size is read in the time and memory of its graph. External data is not touched.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto

from cotenant.core.errors import ModelError
from cotenant.graph.wire import Payload, Skeleton

_SMALL_BYTES = 4096  # smaller tensors stay in the graph: they may hold the shapes of others
_PIECE_BYTES = 1 << 20
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5
_KNOWN_FIELDS = frozenset(field.number for field in ModelProto.DESCRIPTOR.fields)


def read_model(path: Path) -> Skeleton:
    """Read a model file without the values of its large weights.

    Raises:
        ModelError: no such file, not an ONNX file, or only the beginning of one.
    """
    if not path.exists():
        raise ModelError(f"there is no model file {str(path)!r}; check the path")
    if not path.is_file():
        raise ModelError(f"{str(path)!r} is not a file; name the '.onnx' file itself")
    try:
        with path.open("rb") as stored:
            return _skeleton(path, stored)
    except OSError as error:
        raise ModelError(
            f"cannot read model file {str(path)!r}: {error.strerror}; check its permissions"
        ) from error
    except _CutOff as error:
        raise ModelError(
            f"model file {str(path)!r} is truncated: it ends after {path.stat().st_size} bytes, "
            "in the middle of the model; copy or export it again"
        ) from error
    except (_Malformed, DecodeError) as error:
        raise ModelError(
            f"{str(path)!r} is not an ONNX file, or a damaged one; convert or copy it again"
        ) from error


class FileRange:
    """Part of a file, read when it is iterated over."""

    def __init__(self, path: Path, start: int, size_bytes: int) -> None:
        self._path = path
        self._start = start
        self._size_bytes = size_bytes

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as stored:
            stored.seek(self._start)
            left = self._size_bytes
            while left:
                piece = stored.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise ModelError(
                        f"{str(self._path)!r} ends before byte {self._start + self._size_bytes}, "
                        "up to where a weight should lie; copy or export it again"
                    )
                left -= len(piece)
                yield piece


class _Malformed(Exception):
    """The bytes are no protocol buffer, or none of this kind."""


class _CutOff(Exception):
    """The bytes are the beginning of a model, but the file ends too early."""


class _Field(NamedTuple):
    """One field of a message: where it lies in the file."""

    number: int
    kind: int
    begin: int
    """Its tag."""
    start: int
    """Its content."""
    end: int


def _skeleton(path: Path, stored: BinaryIO) -> Skeleton:
    size_bytes = os.fstat(stored.fileno()).st_size
    if not size_bytes:
        raise _CutOff
    model, graph, payloads = bytearray(), bytearray(), []
    plausible = True
    for field in _fields(stored, 0, size_bytes):
        plausible = plausible and field.number in _KNOWN_FIELDS
        if field.end > size_bytes:
            raise _CutOff if plausible else _Malformed
        if (field.number, field.kind) != (ModelProto.GRAPH_FIELD_NUMBER, _LENGTH_DELIMITED):
            model += _bytes(stored, field.begin, field.end)
            continue
        for inner in _within(stored, field):
            if payload := _payload(path, stored, inner):
                payloads.append(payload)
            else:
                graph += _bytes(stored, inner.begin, inner.end)
    whole = ModelProto.FromString(bytes(model))
    whole.graph.MergeFromString(bytes(graph))
    return Skeleton(whole, tuple(payloads))


def _payload(path: Path, stored: BinaryIO, field: _Field) -> Payload | None:
    """The weight in a field of the graph; `None` if it is none, or a small one."""
    size_bytes = field.end - field.start
    if field.number != GraphProto.INITIALIZER_FIELD_NUMBER or size_bytes <= _SMALL_BYTES:
        return None
    tensor, raw = bytearray(), None
    for inner in _within(stored, field):
        if inner.number == TensorProto.RAW_DATA_FIELD_NUMBER:
            raw = inner
        else:
            tensor += _bytes(stored, inner.begin, inner.end)
    if raw is None:
        return None
    values = FileRange(path, raw.start, raw.end - raw.start)
    return Payload(TensorProto.FromString(bytes(tensor)), raw.end - raw.start, values)


def _within(stored: BinaryIO, outer: _Field) -> Iterator[_Field]:
    if outer.kind != _LENGTH_DELIMITED:
        raise _Malformed
    for field in _fields(stored, outer.start, outer.end):
        if field.end > outer.end:
            raise _Malformed
        yield field


def _fields(stored: BinaryIO, position: int, end: int) -> Iterator[_Field]:
    """Fields one after the other; the last one may reach past `end` where bytes are missing."""
    while position < end:
        stored.seek(position)
        tag = _varint(stored)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise _Malformed
        if kind == _VARINT:
            start = stored.tell()
            _varint(stored)
            stop = stored.tell()
        elif kind == _LENGTH_DELIMITED:
            length = _varint(stored)
            start = stored.tell()
            stop = start + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            start = stored.tell()
            stop = start + (8 if kind == _EIGHT_BYTES else 4)
        else:
            raise _Malformed
        yield _Field(number, kind, position, start, stop)
        position = stop


def _varint(stored: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stored.read(1)
        if not byte:
            raise _CutOff
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _Malformed


def _bytes(stored: BinaryIO, start: int, end: int) -> bytes:
    stored.seek(start)
    return stored.read(end - start)
