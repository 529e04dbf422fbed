"""Frames of one connection go in; what happens to its streams, and how it ends, comes out.

It is one table: for each kind of frame, what may be wrong with it and what it does. How bytes
become frames is in `inlet`, how what is said leaves in `outlet`; both are halves of this class.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from cotenant.serving.http2 import frames
from cotenant.serving.http2.flow import Receiving
from cotenant.serving.http2.frames import (
    ACK,
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW_BYTES,
    END_STREAM,
    LARGEST_STREAM,
    PADDED,
    PING,
    SETTINGS,
    Code,
    ConnectionFault,
    StreamFault,
    frame,
)
from cotenant.serving.http2.headers import LARGEST_LIST_BYTES, Head, HeaderReader
from cotenant.serving.http2.inlet import FRAME_BYTES, Inlet
from cotenant.serving.http2.outlet import Outlet
from cotenant.serving.http2.patience import COSTLY, RESET, SMALL
from cotenant.serving.http2.stream import WINDOW_BYTES, Body, Stream

_log = logging.getLogger(__name__)

_STREAMS = 1024
_WINDOW_BYTES = 32 * 2**20
_RESETS_REMEMBERED = 2 * _STREAMS
_GREETING_TICKS = 10
_LINGER_S = 1.0
_LAST_CALL = b"cotenant"
_GREETING = frames.settings_frame(
    {
        frames.MAX_CONCURRENT_STREAMS: _STREAMS,
        frames.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
        frames.MAX_FRAME_SIZE: FRAME_BYTES,
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


class Connection(Outlet, Inlet):
    """One client's connection."""

    def __init__(self, port: Port) -> None:
        # With its halves it has 29 attributes. From 30 on, Python 3.11 keeps them for each object
        # by itself, and a request takes 8 % longer.
        Outlet.__init__(self)
        Inlet.__init__(self, port.scratch)
        self._port = port
        self._reader = HeaderReader()
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._reset: dict[int, None] = {}
        self._receiving = Receiving(_WINDOW_BYTES)
        self._stream_window_bytes = DEFAULT_WINDOW_BYTES
        self._ticks = 0
        self._draining = self._refusing = False
        self._on_frame |= {
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window,
        }

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Outlet.connection_made(self, transport)
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

    # Frames

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

    def _on_end(self, stream: Stream) -> None:
        stream.complete = True
        if stream.missing:
            self._refuse(stream, Code.PROTOCOL_ERROR)
        elif stream.body is not None:
            stream.body.end()

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

    # Ends

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
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)

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
