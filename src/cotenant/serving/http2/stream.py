"""One request and its answer: what comes goes to a body, what is sent leaves as windows allow."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from cotenant.serving.http2.flow import Receiving, Sending
from cotenant.serving.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    Code,
    Raw,
    frame,
    frame_head,
    window_frame,
)

WINDOW_BYTES = 4 * 2**20
"""How far ahead of us a client may send on one stream."""
_JOINED_BYTES = 16 * 1024
_TURN_BYTES = 256 * 1024
"""What a stream may send before the next one has its turn."""


class Body(Protocol):
    """Whatever takes the body of a request."""

    def room(self) -> memoryview | None:
        """Where the next bytes can be received directly, if there is such a place."""

    def filled(self, count: int) -> None:
        """So many bytes were received there."""

    def take(self, piece: memoryview) -> None:
        """More bytes; they are overwritten after the call."""

    def end(self) -> None:
        """The request is complete."""

    def gone(self) -> None:
        """Nobody waits for an answer any more."""

    def cut(self) -> None:
        """The server goes now: answer at once or never."""


class Link(Protocol):
    """What a stream needs of its connection."""

    sending: Sending
    frame_bytes: int
    writable: bool

    def write(self, content: bytes) -> None: ...

    def write_pieces(self, pieces: Sequence[Raw]) -> None: ...

    def wait_turn(self, stream: "Stream") -> None: ...

    def forget(self, stream: "Stream", reset: Code | None) -> None: ...


class Stream:
    """One stream of a connection, from the server's side."""

    __slots__ = (
        "_drained",
        "_link",
        "_queue",
        "_withheld",
        "body",
        "complete",
        "is_open",
        "missing",
        "number",
        "receiving",
        "sending",
    )

    def __init__(self, link: Link, number: int, window_bytes: int, complete: bool) -> None:
        self._link = link
        self._queue: deque[tuple[int | None, Raw]] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._withheld = False
        self.number = number
        self.sending = Sending(window_bytes)
        self.receiving = Receiving(WINDOW_BYTES)
        self.complete = complete
        """The client has sent all that it will."""
        self.missing: int | None = None
        """What is left of an announced length."""
        self.is_open = True
        self.body: Body | None = None

    def send(
        self,
        block: bytes | None = None,
        pieces: Sequence[Raw] = (),
        size: int = 0,
        trailers: bytes | None = None,
    ) -> None:
        """Send fields, then `size` bytes in pieces, then trailers, which end the answer."""
        if not self.is_open:
            return
        link = self._link
        if (
            not self._queue
            and link.writable
            and size <= self.sending.left
            and size <= link.sending.left
            and size <= link.frame_bytes
        ):
            self._send_at_once(block, pieces, size, trailers)
            return
        if block is not None:
            self._queue.append((END_HEADERS, block))
        self._queue.extend((None, piece) for piece in pieces if len(piece))
        if trailers is not None:
            self._queue.append((END_HEADERS | END_STREAM, trailers))
        if self.send_queued():
            link.wait_turn(self)

    def _send_at_once(
        self, block: bytes | None, pieces: Sequence[Raw], size: int, trailers: bytes | None
    ) -> None:
        number, link = self.number, self._link
        frames: list[Raw] = []
        if block is not None:
            frames += (frame_head(len(block), HEADERS, END_HEADERS, number), block)
        if size:
            self.sending.left -= size
            link.sending.left -= size
            frames.append(frame_head(size, DATA, 0, number))
            frames += pieces
        if trailers is not None:
            flags = END_HEADERS | END_STREAM
            frames += (frame_head(len(trailers), HEADERS, flags, number), trailers)
        if size < _JOINED_BYTES:
            link.write(b"".join(frames))
        else:
            link.write_pieces(frames)
        if trailers is not None:
            self._sent_all()

    def send_queued(self) -> bool:
        """Send what is allowed now; true if more could be sent but for the connection."""
        queue, link, turn = self._queue, self._link, _TURN_BYTES
        while queue and link.writable:
            flags, content = queue[0]
            if flags is not None:
                queue.popleft()
                link.write(frame(HEADERS, flags, self.number, bytes(content)))
                if flags & END_STREAM:
                    self._sent_all()
                    return False
                continue
            allowed = min(self.sending.left, link.sending.left, link.frame_bytes, turn)
            if allowed <= 0:
                # Leave for this stream brings it back by itself; leave for all, in turn.
                return self.sending.left > 0
            piece = memoryview(content)[:allowed]
            if len(piece) < len(content):
                queue[0] = (None, memoryview(content)[allowed:])
            else:
                queue.popleft()
            count = len(piece)
            self.sending.left -= count
            link.sending.left -= count
            turn -= count
            link.write_pieces((frame_head(count, DATA, 0, self.number), piece))
        if not queue:
            self._wake()
        return bool(queue)

    async def drained(self) -> None:
        """Wait until all that was given to `send` has left, or will never."""
        if self._queue and self.is_open:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def withhold(self) -> None:
        """Give the client no more leave to send than it has."""
        self._withheld = True

    def release(self) -> None:
        """Undo `withhold`."""
        self._withheld = False
        self.grant()

    def grant(self) -> None:
        """Give leave for as much as has been received."""
        if self.complete or self._withheld or not self.is_open:
            return
        increment = self.receiving.grant()
        if increment:
            self._link.write(window_frame(self.number, increment))

    def close(self) -> None:
        """Called by the connection: nothing can be sent or received any more."""
        self.is_open = False
        self.body = None
        self._queue.clear()
        self._wake()

    def _sent_all(self) -> None:
        # A request that has not ended need not be sent to its end (section 8.1).
        self._link.forget(self, None if self.complete else Code.NO_ERROR)

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
