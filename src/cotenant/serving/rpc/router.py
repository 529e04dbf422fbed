"""The head of a request becomes a call of the method that it names, or is refused at once."""

from collections.abc import Callable, Mapping
from typing import Any

from cotenant.core.clock import Clock
from cotenant.core.errors import CotenantError, Unsupported
from cotenant.serving.http2.headers import Head, encode_fields
from cotenant.serving.http2.stream import Stream
from cotenant.serving.rpc.call import Call, StreamCall, Streaming, Unary, UnaryCall
from cotenant.serving.rpc.messages import ENCODINGS
from cotenant.serving.rpc.status import (
    ANSWER_HEAD,
    Fields,
    error_trailers,
    is_grpc,
    parse_timeout,
)

_NOT_GRPC = b"this port speaks gRPC (POST, application/grpc); REST has a port of its own\n"

_NO_STATUS = encode_fields([(b"grpc-status", b"12")])

Admit = Callable[[bytes, Fields], None]
"""Raises an error unless a client with these fields may call the method of that path."""


class Router:
    """Methods by their paths."""

    def __init__(
        self,
        unary: Mapping[bytes, Unary],
        streaming: Mapping[bytes, Streaming],
        admit: Admit,
        limit_bytes: int,
        clock: Clock,
    ) -> None:
        self._methods: dict[bytes, tuple[type[UnaryCall | StreamCall], Any]] = {
            path: (UnaryCall, method) for path, method in unary.items()
        }
        self._methods |= {path: (StreamCall, method) for path, method in streaming.items()}
        self._admit = admit
        self._limit_bytes = limit_bytes
        self._clock = clock

    def accept(self, stream: Stream, head: Head) -> Call | None:
        """The call that takes the stream's body; none if it has been answered already."""
        fields = head.fields
        if head.method != b"POST":
            _refuse_http(stream, b"405")
        elif not is_grpc(fields.get(b"content-type", b"")):
            _refuse_http(stream, b"415")
        else:
            try:
                return self._open(stream, head.path, fields)
            except CotenantError as error:
                stream.send(trailers=ANSWER_HEAD + error_trailers(error, fields))
        return None

    def _open(self, stream: Stream, path: bytes, fields: Fields) -> Call:
        found = self._methods.get(path)
        if found is None:
            raise Unsupported(
                f"there is no method {path.decode(errors='replace')!r} here; "
                "see inference.GRPCInferenceService and grpc.health.v1.Health"
            )
        encoding = fields.get(b"grpc-encoding", b"identity")
        if encoding not in ENCODINGS:
            raise Unsupported(
                f"grpc-encoding {encoding.decode(errors='replace')!r} is not supported; "
                "send identity, deflate or gzip"
            )
        timeout_s = parse_timeout(fields.get(b"grpc-timeout"))
        self._admit(path, fields)
        kind, method = found
        return kind(method, stream, fields, self._limit_bytes, self._clock, timeout_s)


def _refuse_http(stream: Stream, status: bytes) -> None:
    fields = [(b":status", status), (b"content-type", b"text/plain")]
    stream.send(encode_fields(fields), (_NOT_GRPC,), len(_NOT_GRPC), _NO_STATUS)
