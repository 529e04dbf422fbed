"""One kept-alive HTTP/1.1 connection: request bytes go in, status and end time come out.

Requests are serialised once, ahead of time; each leaves in one write. Whatever happens to
the connection, the callback of a request that was sent is called exactly once.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import httptools

from cotenant.core.clock import Clock

Done = Callable[[int | None, float], None]
"""Called with the HTTP status, or `None` if no answer came, and the time it ended."""


class Connection(asyncio.Protocol):
    """Carries one request at a time."""

    def __init__(self, clock: Clock, lost: Callable[["Connection"], None]) -> None:
        self._clock = clock
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._done: Done | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def exchange(self, payload: bytes, done: Done) -> None:
        """Send a request; `done` is called when its answer is complete or cannot come."""
        if self._transport is None or self._transport.is_closing():
            done(None, self._clock.now())
            return
        self._done = done
        self._transport.write(payload)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_message_complete(self) -> None:
        """Called by the parser after the last byte of a response."""
        status, keep = self._parser.get_status_code(), self._parser.should_keep_alive()
        if not keep:
            self.close()
        self._parser = httptools.HttpResponseParser(self)
        self._finish(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost(self)
        self._finish(None)

    def _finish(self, status: int | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(status, self._clock.now())
