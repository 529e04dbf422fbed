"""Bytes of one connection become frames, and frames become what happens to its streams.

It is long because it is one table: for each kind of frame, what may be wrong with it and what it
does, all over the same state. A large body is received where it stays: once the head of its frame
has been read, the rest of the frame goes from the socket to where the stream's body wants it.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Protocol

from cotenant.serving.http2 import frames
from cotenant.serving.http2.flow import Receiving, Sending
from cotenant.serving.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    LARGEST_STREAM,
    PADDED,
    PING,
    PREFACE,
    SETTINGS,
    WITH_PRIORITY,
    Code,
    ConnectionFault,
    Raw,
    StreamFault,
    frame,
)
from cotenant.serving.http2.headers import LARGEST_LIST_BYTES, Head, HeaderReader
from cotenant.serving.http2.patience import COSTLY, RESET, SMALL, Patience
from cotenant.serving.http2.stream import WINDOW_BYTES, Body, Stream

_log = logging.getLogger(__name__)

_STREAMS = 1024
_FRAME_BYTES = 2**20
_WINDOW_BYTES = 32 * 2**20
_DIRECT_BYTES = 32 * 1024
"""From here on a system call of its own costs less than a copy."""
_UNSENT_BYTES = 2**20
_UNREAD_REPLIES = 1000
_FRAGMENTS = 64
_RESETS_REMEMBERED = 2 * _STREAMS
_GREETING_TICKS = 10
_LINGER_S = 1.0
_LAST_CALL = b"cotenant"
_GREETING = frames.settings_frame(
    {
        frames.MAX_CONCURRENT_STREAMS: _STREAMS,
        frames.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
        frames.MAX_FRAME_SIZE: _FRAME_BYTES,
        frames.MAX_HEADER_LIST_SIZE: LARGEST_LIST_BYTES,
    }
) + frames.window_frame(0, _WINDOW_BYTES - DEFAULT_WINDOW_BYTES)

Accept = Callable[[Stream, Head], Body | None]


class Port(Protocol):
    """What a connection needs of the listener."""

    accept: Accept
    """Answer a request's head at once, or give what takes its body."""
    scratch: memoryview
    """Where all connections receive: what is in it is taken out before the next one does."""

    def joined(self, connection: "Connection") -> None: ...

    def left(self, connection: "Connection") -> None: ...


class Connection(asyncio.BufferedProtocol):
    """One client's connection."""

    def __init__(self, port: Port, loop: asyncio.AbstractEventLoop) -> None:
        self._port = port
        self._loop = loop
        self._reader = HeaderReader()
        self._patience = Patience()
        self._streams: dict[int, Stream] = {}
        self._waiting: dict[int, Stream] = {}
        self._last = 0
        self._reset: dict[int, None] = {}
        self._receiving = Receiving(_WINDOW_BYTES)
        self.sending = Sending(DEFAULT_WINDOW_BYTES)
        self.frame_bytes = DEFAULT_FRAME_BYTES
        self._stream_window_bytes = DEFAULT_WINDOW_BYTES
        self.writable = True
        self._unread_replies = 0
        # What has come of a frame that is not whole yet.
        self._kept = b""
        self._greeted = self._has_settings = False
        self._ticks = 0
        self._block: tuple[int, int, list[bytes]] | None = None
        # Inside a DATA frame.
        self._stream: Stream | None = None
        self._content_left = self._skip = 0
        self._stream_ends = self._direct = False
        # At the end.
        self._draining = self._refusing = self._doomed = False
        self._on_frame = {
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window,
            frames.CONTINUATION: self._on_continuation,
        }

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        transport.set_write_buffer_limits(high=_UNSENT_BYTES)  # type: ignore[attr-defined]
        peer = transport.get_extra_info("socket")
        if peer is not None:
            # Channels may be quiet for days; only the system can tell one from a dead one.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._port.joined(self)
        self.write(_GREETING)

    def connection_lost(self, exc: Exception | None) -> None:
        self._doomed = True
        self._drop_streams()
        self._port.left(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        self._direct = False
        stream = self._stream
        if self._content_left >= _DIRECT_BYTES and stream is not None and stream.body is not None:
            room = stream.body.room()
            if room is not None and len(room) >= _DIRECT_BYTES:
                self._direct = True
                return room[: self._content_left]
        return self._port.scratch

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
            received = self._port.scratch[:nbytes]
            if self._kept:
                received = memoryview(self._kept + received)
            taken = self._parse(received) if self._greeted else self._greet(received)
            self._kept = bytes(received[taken:])
        except ConnectionFault as fault:
            self._fail(fault)
        except Exception:
            _log.exception("a connection failed")
            self._fail(ConnectionFault(Code.INTERNAL_ERROR, "internal error; see the server's log"))

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._unread_replies = 0
        for stream in tuple(self._waiting.values()):
            self._take_turn(stream)
        self._take_turns()

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
        if length > _FRAME_BYTES:
            raise ConnectionFault(
                Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes; the most is {_FRAME_BYTES}"
            )
        if not self._has_settings and kind != SETTINGS:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        if self._block is not None and (kind, number) != (CONTINUATION, self._block[0]):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block was not continued")

    def _on_data(self, flags: int, number: int, length: int, padding: int) -> None:
        if not self._receiving.take(length):
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the connection's window is exceeded")
        increment = self._receiving.grant()
        if increment:
            self.write(frames.window_frame(0, increment))
        content = length - padding - (1 if flags & PADDED else 0)
        stream = self._streams.get(number)
        self._skip = content + padding
        if stream is None:
            self._on_closed(number, "DATA")
            return
        if not content and not flags & END_STREAM:
            self._patience.spend(SMALL)
        if stream.missing is not None:
            stream.missing -= content
        if stream.complete:
            self._refuse(stream, Code.STREAM_CLOSED)
        elif not stream.receiving.take(length):
            self._refuse(stream, Code.FLOW_CONTROL_ERROR)
        else:
            self._stream, self._stream_ends = stream, bool(flags & END_STREAM)
            self._content_left, self._skip = content, padding
            if not self._stream_ends:
                stream.grant()
            if not content:
                self._on_content_end()

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

    def _on_end(self, stream: Stream) -> None:
        stream.complete = True
        if stream.missing:
            self._refuse(stream, Code.PROTOCOL_ERROR)
        elif stream.body is not None:
            stream.body.end()

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

    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        stream, ends = self._streams.get(number), bool(flags & END_STREAM)
        try:
            if stream is not None:
                self._reader.read_trailers(block)
                if stream.complete:
                    raise StreamFault(Code.STREAM_CLOSED, "HEADERS behind the end")
                if not ends:
                    raise StreamFault(Code.PROTOCOL_ERROR, "trailers that do not end the stream")
                self._on_end(stream)
            elif number > self._last:
                self._last = number
                self._on_request(number, ends, self._reader.read(block))
            elif number in self._reset:
                self._reader.pass_over(block)
            else:
                raise ConnectionFault(Code.STREAM_CLOSED, f"HEADERS on old stream {number}")
        except StreamFault as fault:
            _log.debug("stream %d: %s", number, fault)
            if stream is not None:
                self._refuse(stream, fault.code)
            else:
                self._reset_number(number, fault.code)

    def _on_request(self, number: int, ends: bool, head: Head) -> None:
        if self._refusing:
            return  # the client was told that streams from here on are not looked at
        if len(self._streams) >= _STREAMS:
            raise StreamFault(Code.REFUSED_STREAM, f"more than {_STREAMS} streams")
        stream = Stream(self, number, self._stream_window_bytes, ends)
        length = head.fields.get(b"content-length")
        if length is not None:
            if not (length.isdigit() and len(length) < 20) or (ends and int(length)):
                raise StreamFault(Code.PROTOCOL_ERROR, "content-length is not the body's")
            stream.missing = int(length)
        self._streams[number] = stream
        body = self._port.accept(stream, head)
        if stream.is_open:
            stream.body = body
            if ends and body is not None:
                body.end()

    def _on_priority(self, flags: int, number: int, payload: memoryview) -> None:
        if not number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PRIORITY has 5 bytes")
        self._patience.spend(SMALL)

    def _on_reset(self, flags: int, number: int, payload: memoryview) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes")
        if not number or number > self._last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"RST_STREAM on idle stream {number}")
        stream = self._streams.get(number)
        if stream is not None:
            body = stream.body
            self.forget(stream, None)
            if body is not None:
                body.gone()
        self._patience.spend(RESET)

    def _on_settings(self, flags: int, number: int, payload: memoryview) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
        self._has_settings = True
        if flags & ACK:
            return
        self._patience.spend(COSTLY + len(payload) // 6)
        window_bytes = self._stream_window_bytes
        for setting, value in struct.iter_unpack(">HL", payload):
            if setting == frames.INITIAL_WINDOW_SIZE:
                if value > frames.LARGEST_WINDOW_BYTES:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                window_bytes = value
            elif setting == frames.MAX_FRAME_SIZE:
                if not DEFAULT_FRAME_BYTES <= value <= frames.LARGEST_FRAME_BYTES:
                    raise ConnectionFault(Code.PROTOCOL_ERROR, f"frames of {value} bytes")
                self.frame_bytes = value
            elif setting == frames.ENABLE_PUSH and value > 1:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")
        self._reply(frame(SETTINGS, ACK, 0))
        change, self._stream_window_bytes = window_bytes - self._stream_window_bytes, window_bytes
        if change:
            for stream in tuple(self._streams.values()):
                if not stream.sending.widen(change):
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a stream's window is too large")
                self._take_turn(stream)
            self._take_turns()

    def _on_push(self, flags: int, number: int, payload: memoryview) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "clients do not push")

    def _on_ping(self, flags: int, number: int, payload: memoryview) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING has 8 bytes")
        self._patience.spend(SMALL)
        if not flags & ACK:
            self._reply(frame(PING, ACK, 0, bytes(payload)))
        elif self._draining and payload == _LAST_CALL:
            # All that was under way when the client heard of the end has come by now.
            self._refuse_more()

    def _on_goaway(self, flags: int, number: int, payload: memoryview) -> None:
        """The client opens no more streams; those that are open go on."""
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "GOAWAY has at least 8 bytes")
        self._patience.spend(SMALL)

    def _on_window(self, flags: int, number: int, payload: memoryview) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        increment = int.from_bytes(payload, "big") & frames.LARGEST_WINDOW_BYTES
        if not number:
            if not increment:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            if not self.sending.widen(increment):
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window is too large")
            self._take_turns()
            return
        if number > self._last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"WINDOW_UPDATE on idle stream {number}")
        stream = self._streams.get(number)
        if stream is None:
            return  # a stream's end and leave for it may pass each other
        if not increment:
            self._refuse(stream, Code.PROTOCOL_ERROR)
        elif not stream.sending.widen(increment):
            self._refuse(stream, Code.FLOW_CONTROL_ERROR)
        else:
            self._take_turn(stream)
            self._take_turns()

    def _on_closed(self, number: int, what: str) -> None:
        if not number % 2 or number > self._last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"{what} on idle stream {number}")
        if number in self._reset or self._refusing:
            return  # sent before the client knew
        self._patience.spend(RESET)
        self._reset_number(number, Code.STREAM_CLOSED)

    # Called by streams

    def write(self, content: bytes) -> None:
        if not (self._doomed or self._transport.is_closing()):
            self._transport.write(content)

    def write_pieces(self, pieces: Sequence[Raw]) -> None:
        if not (self._doomed or self._transport.is_closing()):
            self._transport.writelines(pieces)

    def wait_turn(self, stream: Stream) -> None:
        """Have a stream go on when the others have had their turns."""
        self._waiting[stream.number] = stream
        self._take_turns()

    def forget(self, stream: Stream, reset: Code | None) -> None:
        """A stream has ended, or is to end now."""
        if self._streams.pop(stream.number, None) is None:
            return
        self._waiting.pop(stream.number, None)
        stream.close()
        if reset is not None:
            self._reset_number(stream.number, reset)
        if self._refusing and not self._streams:
            self._transport.close()

    # Turns and ends

    def _take_turns(self) -> None:
        while self._waiting and self.writable and self.sending.left > 0:
            self._take_turn(next(iter(self._waiting.values())))

    def _take_turn(self, stream: Stream) -> None:
        self._waiting.pop(stream.number, None)
        if stream.send_queued():
            self._waiting[stream.number] = stream

    def _refuse(self, stream: Stream, code: Code) -> None:
        """End a stream that the client has spoilt."""
        body = stream.body
        self.forget(stream, code)
        if body is not None:
            body.gone()

    def _reset_number(self, number: int, code: Code) -> None:
        self._reset[number] = None
        if len(self._reset) > _RESETS_REMEMBERED:
            del self._reset[next(iter(self._reset))]
        if code is not Code.NO_ERROR:
            self._patience.spend(RESET)
        self._reply(frames.reset_frame(number, code))

    def _reply(self, content: bytes) -> None:
        """Write what the client provoked, unless it provokes much and reads nothing."""
        if not self.writable:
            self._unread_replies += 1
            if self._unread_replies > _UNREAD_REPLIES:
                self._transport.abort()
        self.write(content)

    def _drop_streams(self) -> None:
        for stream in tuple(self._streams.values()):
            body = stream.body
            stream.close()
            if body is not None:
                body.gone()
        self._streams.clear()
        self._waiting.clear()

    def _fail(self, fault: ConnectionFault) -> None:
        """Say why, and leave the client time to read it."""
        _log.debug("a connection ends: %s", fault)
        self.write(frames.goaway_frame(self._last, fault.code, str(fault)))
        self._doomed = True
        self._drop_streams()
        # Closing now would reset the connection under a client that is still sending.
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._loop.call_later(_LINGER_S, self._transport.close)

    # Called by the listener

    def on_tick(self) -> None:
        """Once a second."""
        self._patience.renew()
        self._ticks += 1
        if not self._has_settings and self._ticks > _GREETING_TICKS:
            self._transport.close()

    def drain(self) -> None:
        """Tell the client to open no new streams; those that it opened before it heard count."""
        if not self._has_settings:
            self._transport.close()
        elif not self._draining:
            self._draining = True
            self.write(frames.goaway_frame(LARGEST_STREAM, Code.NO_ERROR))
            self.write(frame(PING, 0, 0, _LAST_CALL))

    def cut(self) -> None:
        """Have open streams answered at once, and close."""
        for stream in tuple(self._streams.values()):
            if stream.body is not None:
                stream.body.cut()
        if not self._refusing:
            self._refuse_more()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _refuse_more(self) -> None:
        self._refusing = True
        self.write(frames.goaway_frame(self._last, Code.NO_ERROR))
        if not self._streams:
            self._transport.close()


def _padding(payload: memoryview, length: int) -> int:
    """How many bytes at a payload's end mean nothing; the first byte of it says so."""
    if not length:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a padded frame without the padding's length")
    padding = payload[0]
    if padding >= length:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than payload")
    return padding
