"""What streams and frames say goes in; it leaves in turns, as windows and the line allow."""

import asyncio
from collections.abc import Sequence
from typing import cast

from cotenant.serving.http2.flow import Sending
from cotenant.serving.http2.frames import DEFAULT_FRAME_BYTES, DEFAULT_WINDOW_BYTES, Raw
from cotenant.serving.http2.stream import Stream

_UNSENT_BYTES = 2**20
_UNREAD_REPLIES = 1000


class Outlet(asyncio.BaseProtocol):
    """The sending half of a connection; streams call it."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.sending = Sending(DEFAULT_WINDOW_BYTES)
        self.frame_bytes = DEFAULT_FRAME_BYTES
        self.writable = True
        self._doomed = False
        """Nothing is said any more, and nothing heard."""
        self._waiting: dict[int, Stream] = {}
        self._unread_replies = 0

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_UNSENT_BYTES)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._unread_replies = 0
        for stream in tuple(self._waiting.values()):
            self._take_turn(stream)
        self._take_turns()

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

    # Called by the connection

    def _take_turns(self) -> None:
        while self._waiting and self.writable and self.sending.left > 0:
            self._take_turn(next(iter(self._waiting.values())))

    def _take_turn(self, stream: Stream) -> None:
        self._waiting.pop(stream.number, None)
        if stream.send_queued():
            self._waiting[stream.number] = stream

    def _reply(self, content: bytes) -> None:
        """Write what the client provoked, unless it provokes much and reads nothing."""
        if not self.writable:
            self._unread_replies += 1
            if self._unread_replies > _UNREAD_REPLIES:
                self._transport.abort()
        self.write(content)
