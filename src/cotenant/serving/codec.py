"""Wire values become numpy arrays and back; errors become protocol codes.

The names of the Open Inference Protocol's datatypes, its raw and typed contents, and the
status codes of both transports stand here and nowhere else.
"""

import struct
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import numpy as np

from cotenant.core import errors
from cotenant.core.errors import CotenantError, InvalidRequest
from cotenant.core.request import Tensor

_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "object": "BYTES",
}

GRPC_NUMBER = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}

Raw = bytes | bytearray | memoryview


class Status(NamedTuple):
    """How one branch of the error tree looks on the wire."""

    http: int
    grpc: str
    """A key of `GRPC_NUMBER`."""
    phrase: str = ""
    """What clients' scripts look for at the start of the message."""


# Longest branches first: the first one that an error belongs to counts.
_STATUS: tuple[tuple[type[CotenantError], Status], ...] = (
    (errors.RequestTooLarge, Status(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RESOURCE_EXHAUSTED")),
    (errors.InvalidRequest, Status(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")),
    (errors.WorkloadError, Status(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")),
    (errors.ModelError, Status(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")),
    (errors.NotFound, Status(HTTPStatus.NOT_FOUND, "NOT_FOUND")),
    (errors.Unsupported, Status(HTTPStatus.NOT_IMPLEMENTED, "UNIMPLEMENTED")),
    (errors.Unauthorized, Status(HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED")),
    (
        errors.QueueFull,
        Status(HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "Exceeds maximum queue size"),
    ),
    # Not to be tried again as it is: what runs here and what is asked for contradict each other.
    (errors.Admission, Status(HTTPStatus.CONFLICT, "FAILED_PRECONDITION")),
    (errors.Unavailable, Status(HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE")),
    (
        errors.DeadlineExceeded,
        Status(HTTPStatus.GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED", "Request timeout expired"),
    ),
    # No official number: 499 is what proxies log for a client that went away.
    (errors.Cancelled, Status(499, "CANCELLED")),
    (errors.CotenantError, Status(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL")),
)


def status_of(error: CotenantError) -> Status:
    """The codes of an error.

    >>> int(status_of(errors.QueueFull("64 requests wait")).http)
    503
    """
    return next(status for branch, status in _STATUS if isinstance(error, branch))


def message_of(error: CotenantError) -> str:
    """What a client reads, with the phrase that scripts look for.

    >>> message_of(errors.QueueFull("64 requests of 'cam' wait"))
    "Exceeds maximum queue size: 64 requests of 'cam' wait"
    """
    phrase, text = status_of(error).phrase, str(error)
    return text if phrase in text else f"{phrase}: {text}"


def datatype_of(dtype: str) -> str:
    """The protocol's name of a numpy element type ('float32' -> 'FP32')."""
    try:
        return _DATATYPES[dtype]
    except KeyError:
        raise errors.ModelError(
            f"tensors of type {dtype!r} cannot be sent over the protocol; "
            f"export the model with one of {', '.join(_DATATYPES)}"
        ) from None


def wire_dtype(dtype: str) -> np.dtype[Any]:
    """The numpy type of raw contents: little-endian, whatever this machine is."""
    return np.dtype(dtype).newbyteorder("<")


def decode_raw(raw: Raw, dtype: np.dtype[Any], shape: tuple[int, ...], count: int) -> Tensor:
    """A view on received bytes as an array; `count` is the product of `shape`."""
    if dtype.hasobject:
        return decode_strings(raw, count).reshape(shape)
    expected = count * dtype.itemsize
    if len(raw) != expected:
        raise InvalidRequest(
            f"has {len(raw)} bytes; shape {list(shape)} of {datatype_of(dtype.name)} "
            f"takes {expected}"
        )
    if dtype.kind == "b" and count and np.frombuffer(raw, np.uint8).max() > 1:
        raise InvalidRequest("holds a BOOL byte other than 0 and 1")
    return np.frombuffer(raw, dtype, count).reshape(shape)


def encode_raw(array: Tensor) -> Raw:
    """The array's elements in row-major, little-endian order; a view where that is possible."""
    if array.dtype.hasobject:
        return encode_strings(array)
    packed = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return packed.reshape(-1).view(np.uint8).data


def decode_strings(raw: Raw, count: int) -> Tensor:
    """BYTES elements: each a 4-byte length, then that many bytes of UTF-8."""
    strings = np.empty(count, object)
    offset, end = 0, len(raw)
    for index in range(count):
        start = offset + 4
        if start > end:
            raise InvalidRequest(f"ends after {index} of {count} BYTES elements")
        offset = start + struct.unpack_from("<I", raw, offset)[0]
        if offset > end:
            raise InvalidRequest(f"ends inside BYTES element {index} of {count}")
        strings[index] = _text(bytes(raw[start:offset]), index)
    if offset != end:
        raise InvalidRequest(f"has {end - offset} bytes behind its {count} BYTES elements")
    return strings


def encode_strings(array: Tensor) -> bytes:
    """The inverse of `decode_strings`."""
    pieces: list[bytes] = []
    for element in array.reshape(-1):
        encoded = element if isinstance(element, bytes) else str(element).encode()
        pieces += (struct.pack("<I", len(encoded)), encoded)
    return b"".join(pieces)


def decode_values(
    values: Sequence[Any], dtype: np.dtype[Any], shape: tuple[int, ...], count: int
) -> Tensor:
    """Values of a JSON list (flat, or nested as `shape` says) or of typed contents."""
    if dtype.hasobject:
        array = _strings_of(values)
    else:
        try:
            array = np.asarray(values)
        except (ValueError, OverflowError) as error:
            raise InvalidRequest("has lists of unequal lengths") from error
        if dtype.kind in "iu" and array.dtype.kind in "fO":
            # numpy makes floats of integers that no single integer type of its own holds.
            array = _integers(values, dtype)
        array = _converted(array, dtype)
    if array.size != count or (array.ndim > 1 and array.shape != shape):
        raise InvalidRequest(
            f"has {array.size} values in shape {list(array.shape)}; "
            f"shape {list(shape)} takes {count}"
        )
    return array.reshape(shape)


def _converted(array: Tensor, dtype: np.dtype[Any]) -> Tensor:
    if array.size == 0:
        return array.astype(dtype)
    accepted = {"b": "biu", "i": "iuO", "u": "iuO", "f": "iuf"}[dtype.kind]
    if array.dtype.kind not in accepted:
        raise InvalidRequest(f"has values that are no {datatype_of(dtype.name)}")
    outside = InvalidRequest(f"has values outside the range of {datatype_of(dtype.name)}")
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
        if np.isfinite(array).all() and not np.isfinite(converted).all():
            raise outside
        return converted
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not (low <= int(array.min()) and int(array.max()) <= high):
        raise outside
    return array.astype(dtype)


def _integers(values: Sequence[Any], dtype: np.dtype[Any]) -> Tensor:
    array = np.asarray(values, object)
    if not all(type(value) is int for value in array.flat):
        raise InvalidRequest(f"has values that are no {datatype_of(dtype.name)}")
    return array


def _strings_of(values: Sequence[Any]) -> Tensor:
    flat: list[str] = []
    pending = [iter(values)]
    while pending:
        for value in pending[-1]:
            if isinstance(value, list):
                pending.append(iter(value))
                break
            if isinstance(value, bytes):
                flat.append(_text(value, len(flat)))
            elif isinstance(value, str):
                flat.append(value)
            else:
                raise InvalidRequest("has values that are no BYTES; write them as strings")
        else:
            pending.pop()
    strings = np.empty(len(flat), object)
    strings[:] = flat
    return strings


def _text(encoded: bytes, index: int) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"has a BYTES element {index} that is no UTF-8: {error}") from error
