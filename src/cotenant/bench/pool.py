"""Serialised requests go in and leave over as few connections as they need, up to a bound.

A request that finds no free connection waits for one, and its latency goes on counting
from the time it was due. Each submitted request ends exactly once, whatever the server does.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from cotenant.bench.connection import Connection, Done
from cotenant.core.clock import Clock

Sent = Callable[[float], None]
"""Called with the time at which the request was written."""


class Pool:
    """Kept-alive connections to one server."""

    def __init__(self, host: str, port: int, bound: int, clock: Clock) -> None:
        self._address = (host, port)
        self._bound = bound
        self._clock = clock
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[bytes, Sent, Done]] = deque()
        self._closed = False

    def submit(self, payload: bytes, sent: Sent, done: Done) -> None:
        """Send as soon as a connection is free."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self._exchange(connection, payload, sent, done)
                return
        self._waiting.append((payload, sent, done))
        self._grow()

    async def warm(self) -> None:
        """Open the first connection, so that no measured request pays for it."""
        await self._connect()

    async def close(self) -> None:
        """End everything; what has not been answered by now is done with no status."""
        self._closed = True
        for opening in self._opening:
            opening.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in tuple(self._open):
            connection.close()
        await asyncio.sleep(0)  # lets the event loop tell the connections that they are lost
        self._refuse(len(self._waiting))

    def _grow(self) -> None:
        if len(self._open) + len(self._opening) < self._bound:
            opening = asyncio.get_running_loop().create_task(self._connect())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._clock, self._forget), *self._address
            )
        except OSError:
            if not self._open:
                self._refuse(len(self._waiting))
            return
        if connection.usable:
            self._open.add(connection)
            self._release(connection)
        else:
            self._refuse(1)

    def _refuse(self, requests: int) -> None:
        for _ in range(min(requests, len(self._waiting))):
            _, _, done = self._waiting.popleft()
            done(None, self._clock.now())

    def _exchange(self, connection: Connection, payload: bytes, sent: Sent, done: Done) -> None:
        def finished(status: int | None, end_s: float) -> None:
            done(status, end_s)
            self._release(connection)

        sent(self._clock.now())
        connection.exchange(payload, finished)

    def _release(self, connection: Connection) -> None:
        if not connection.usable:
            return
        if self._waiting:
            self._exchange(connection, *self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting and not self._closed:
            self._grow()
