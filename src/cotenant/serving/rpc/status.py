"""An error becomes the fields that end a call; the fields of a call become what they mean."""

import re

from cotenant.core.errors import CotenantError, InvalidRequest
from cotenant.serving import codec
from cotenant.serving.http2.headers import encode_fields

# The first byte is `:status: 200`, which the static table has.
ANSWER_HEAD = b"\x88" + encode_fields([(b"content-type", b"application/grpc")])
_OK = encode_fields([(b"grpc-status", b"0")])
_LARGEST_MESSAGE_BYTES = 4096
"""Percent-encoded; clients take heads of 8 KiB at least."""
_UNSAFE = re.compile(rb"[^ -$&-~]")
_CONTENT_TYPE = re.compile(rb"application/grpc(\+proto)?(;.*)?", re.IGNORECASE)
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNIT_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_LONGEST_TRACE_BYTES = 256

Fields = dict[bytes, bytes]


def is_grpc(content_type: bytes) -> bool:
    """Whether bodies of this type are messages in protocol buffers."""
    return _CONTENT_TYPE.fullmatch(content_type) is not None


def ok_trailers(fields: Fields) -> bytes:
    """The end of a call that went well; a trace comes back."""
    trace = _trace(fields)
    return _OK + encode_fields(trace) if trace else _OK


def error_trailers(error: CotenantError, fields: Fields) -> bytes:
    """The end of a call that did not."""
    number = codec.GRPC_NUMBER[codec.status_of(error).grpc]
    status = [
        (b"grpc-status", b"%d" % number),
        (b"grpc-message", encode_message(codec.message_of(error))),
    ]
    if codec.status_of(error).grpc == "UNIMPLEMENTED":
        status.append((b"grpc-accept-encoding", b"identity,deflate,gzip"))
    return encode_fields(status + _trace(fields))


def encode_message(message: str) -> bytes:
    """Percent-encoded, and not too long for a head.

    >>> encode_message("100 % größer")
    b'100 %25 gr%C3%B6%C3%9Fer'
    """
    encoded = _UNSAFE.sub(lambda byte: b"%%%02X" % byte[0][0], message.encode(errors="replace"))
    if len(encoded) <= _LARGEST_MESSAGE_BYTES:
        return encoded.strip()
    return re.sub(rb"%.?$", b"", encoded[:_LARGEST_MESSAGE_BYTES]).strip() + b"..."


def parse_timeout(value: bytes | None) -> float | None:
    """Seconds from a `grpc-timeout`.

    >>> parse_timeout(b"250m")
    0.25
    """
    if value is None:
        return None
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise InvalidRequest(f"grpc-timeout is {value!r}; send up to 8 digits and one of HMSmun")
    return int(match[1]) * _UNIT_S[match[2]]


def _trace(fields: Fields) -> list[tuple[bytes, bytes]]:
    trace = fields.get(b"traceparent")
    if trace is None or len(trace) > _LONGEST_TRACE_BYTES:
        return []
    return [(b"traceparent", trace)]
