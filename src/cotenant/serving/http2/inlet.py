"""Bytes of one connection go in; whole frames, header blocks and pieces of bodies come out.

A large body is received where it stays: once the head of its frame has been read, the rest of the
frame goes from the socket to where the stream's body wants it. What frames mean is for the
connection, which is this class's heir, so that no frame passes through a call more than it must.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

from cotenant.serving.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    FRAME_HEAD,
    HEADERS,
    LARGEST_STREAM,
    PADDED,
    PREFACE,
    SETTINGS,
    WITH_PRIORITY,
    Code,
    ConnectionFault,
)
from cotenant.serving.http2.headers import LARGEST_LIST_BYTES
from cotenant.serving.http2.patience import SMALL, Patience
from cotenant.serving.http2.stream import Stream

_log = logging.getLogger(__name__)

FRAME_BYTES = 2**20
"""The largest frame that a client may send."""
_DIRECT_BYTES = 32 * 1024
"""From here on a system call of its own costs less than a copy."""
_FRAGMENTS = 64


class Inlet(asyncio.BufferedProtocol, ABC):
    """The receiving half of a connection, up to what a frame does."""

    _doomed: bool

    def __init__(self, scratch: memoryview) -> None:
        """`scratch` is where all connections receive, one after the other."""
        self._scratch = scratch
        self._patience = Patience()
        self._on_frame: dict[int, Callable[[int, int, memoryview], None]] = {
            HEADERS: self._on_headers,
            CONTINUATION: self._on_continuation,
        }
        # What has come of a frame that is not whole yet.
        self._kept = b""
        self._greeted = self._has_settings = False
        self._block: tuple[int, int, list[bytes]] | None = None
        # Inside a DATA frame.
        self._stream: Stream | None = None
        self._content_left = self._skip = 0
        self._stream_ends = self._direct = False

    # What the connection makes of it

    @abstractmethod
    def _on_data(self, flags: int, number: int, length: int, padding: int) -> None:
        """A DATA frame begins; say into `_stream` and its neighbours what becomes of the rest."""

    @abstractmethod
    def _on_end(self, stream: Stream) -> None:
        """All of a stream's body has come."""

    @abstractmethod
    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        """A header block has come."""

    @abstractmethod
    def _fail(self, fault: ConnectionFault) -> None:
        """What came can not be gone on from."""

    # Called by the event loop

    def get_buffer(self, sizehint: int) -> memoryview:
        self._direct = False
        stream = self._stream
        if self._content_left >= _DIRECT_BYTES and stream is not None and stream.body is not None:
            room = stream.body.room()
            if room is not None and len(room) >= _DIRECT_BYTES:
                self._direct = True
                return room[: self._content_left]
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._doomed:
            return
        try:
            if self._direct:
                self._content_left -= nbytes
                if self._stream is not None and self._stream.body is not None:
                    self._stream.body.filled(nbytes)
                if not self._content_left:
                    self._on_content_end()
                return
            received = self._scratch[:nbytes]
            if self._kept:
                received = memoryview(self._kept + received)
            taken = self._parse(received) if self._greeted else self._greet(received)
            self._kept = bytes(received[taken:])
        except ConnectionFault as fault:
            self._fail(fault)
        except Exception:
            _log.exception("a connection failed")
            self._fail(ConnectionFault(Code.INTERNAL_ERROR, "internal error; see the server's log"))

    # Frames

    def _greet(self, received: memoryview) -> int:
        start = bytes(received[: len(PREFACE)])
        if not PREFACE.startswith(start):
            raise ConnectionFault(
                Code.PROTOCOL_ERROR, "this port speaks gRPC over HTTP/2; REST has a port of its own"
            )
        if len(start) < len(PREFACE):
            return 0
        self._greeted = True
        return len(PREFACE) + self._parse(received[len(PREFACE) :])

    def _parse(self, received: memoryview) -> int:
        """Take whole frames, and of DATA frames what is there; returns how much was taken."""
        at, end = 0, len(received)
        while at < end and not self._doomed:
            if self._content_left:
                at += self._on_content(received[at : at + self._content_left])
                continue
            if self._skip:
                count = min(self._skip, end - at)
                self._skip -= count
                at += count
                continue
            if end - at < FRAME_HEAD.size:
                break
            high, low, kind, flags, number = FRAME_HEAD.unpack_from(received, at)
            length, number = high << 8 | low, number & LARGEST_STREAM
            self._check_order(kind, number, length)
            payload_at = at + FRAME_HEAD.size
            if kind == DATA:
                padded = flags & PADDED
                if padded and length and payload_at == end:
                    break
                padding = _padding(received[payload_at:end], length) if padded else 0
                self._on_data(flags, number, length, padding)
                at = payload_at + bool(padded)
            elif kind > CONTINUATION:
                self._patience.spend(SMALL)
                self._skip, at = length, payload_at
            elif length > LARGEST_LIST_BYTES:
                raise ConnectionFault(
                    Code.ENHANCE_YOUR_CALM, f"a frame of kind {kind} and {length} bytes"
                )
            elif end - payload_at < length:
                break
            else:
                at = payload_at + length
                self._on_frame[kind](flags, number, received[payload_at:at])
        return at

    def _check_order(self, kind: int, number: int, length: int) -> None:
        if length > FRAME_BYTES:
            raise ConnectionFault(
                Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes; the most is {FRAME_BYTES}"
            )
        if not self._has_settings and kind != SETTINGS:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        if self._block is not None and (kind, number) != (CONTINUATION, self._block[0]):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block was not continued")

    # Bodies

    def _on_content(self, content: memoryview) -> int:
        count = len(content)
        self._content_left -= count
        if self._stream is not None and self._stream.body is not None:
            self._stream.body.take(content)
        if not self._content_left:
            self._on_content_end()
        return count

    def _on_content_end(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and stream.is_open and self._stream_ends:
            self._on_end(stream)

    # Header blocks

    def _on_headers(self, flags: int, number: int, payload: memoryview) -> None:
        if not number % 2:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"HEADERS on stream {number}")
        start = padding = 0
        if flags & PADDED:
            padding, start = _padding(payload, len(payload)), 1
        if flags & WITH_PRIORITY:
            start += 5
        if start + padding > len(payload):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "HEADERS shorter than its own fields")
        block = bytes(payload[start : len(payload) - padding])
        if flags & END_HEADERS:
            self._on_block(number, flags, block)
        else:
            self._block = (number, flags, [block])

    def _on_continuation(self, flags: int, number: int, payload: memoryview) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, first_flags, fragments = self._block
        fragments.append(bytes(payload))
        if len(fragments) > _FRAGMENTS or sum(map(len, fragments)) > LARGEST_LIST_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & END_HEADERS:
            self._block = None
            self._on_block(number, first_flags, b"".join(fragments))


def _padding(payload: memoryview, length: int) -> int:
    """How many bytes at a payload's end mean nothing; the first byte of it says so."""
    if not length:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a padded frame without the padding's length")
    padding = payload[0]
    if padding >= length:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than payload")
    return padding
