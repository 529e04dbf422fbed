"""A port is opened; each connection to it speaks HTTP/2 until the port is closed."""

import asyncio
import ssl
from contextlib import suppress

from cotenant.serving.http2.connection import Accept, Connection

_SCRATCH_BYTES = 64 * 1024
_TICK_S = 1.0
_LAST_WORDS_S = 0.1
"""What answers that end a cut-off stream have to leave."""


class Http2Server:
    """One listening port."""

    def __init__(self, accept: Accept) -> None:
        self.accept = accept
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Open the port (0: any free one) and return its number; raises `OSError`."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), host, port, ssl=tls, backlog=1024
        )
        self._on_tick()
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self, grace_s: float = 0.0) -> None:
        """Take no new stream, give open ones `grace_s` to end, and cut off the rest."""
        if self._server is not None:
            self._server.close()
        self._empty = asyncio.Event()
        for connection in tuple(self._connections):
            connection.drain()
        await self._wait_empty(grace_s)
        for connection in tuple(self._connections):
            connection.cut()
        await self._wait_empty(_LAST_WORDS_S)
        if self._tick is not None:
            self._tick.cancel()
        for connection in tuple(self._connections):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()

    def joined(self, connection: Connection) -> None:
        """Called by a connection that has begun."""
        self._connections.add(connection)
        if self._empty is not None:
            connection.drain()

    def left(self, connection: Connection) -> None:
        """Called by a connection that has ended."""
        self._connections.discard(connection)
        if self._empty is not None and not self._connections:
            self._empty.set()

    async def _wait_empty(self, within_s: float) -> None:
        if self._connections and within_s and self._empty is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), within_s)

    def _on_tick(self) -> None:
        for connection in tuple(self._connections):
            connection.on_tick()
        self._tick = asyncio.get_running_loop().call_later(_TICK_S, self._on_tick)
