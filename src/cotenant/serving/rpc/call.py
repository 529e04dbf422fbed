"""A stream becomes one call of a method; the method's messages and errors become its answer.

A method runs in a task of its own, which is cancelled when the client goes away or the call's
deadline passes.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cotenant.core.clock import Clock
from cotenant.core.errors import (
    CotenantError,
    DeadlineExceeded,
    InvalidRequest,
    ShuttingDown,
    Unsupported,
)
from cotenant.serving.http2.frames import Raw
from cotenant.serving.http2.stream import Stream
from cotenant.serving.rpc.messages import PREFIX, Message, MessageReader
from cotenant.serving.rpc.status import ANSWER_HEAD, Fields, error_trailers, ok_trailers

_log = logging.getLogger(__name__)

_READ_AHEAD = 16
_LONGEST_TIMER_S = 86_400.0

Answer = Sequence[Raw]
"""One message, in pieces."""
Unary = Callable[["Call", Message], Awaitable[Answer]]
"""One message in, one out."""
Streaming = Callable[["StreamCall"], Awaitable[None]]
"""Receives and sends as it likes."""


class Call(MessageReader):
    """What both kinds of calls have in common: fields, a deadline, and an end."""

    def __init__(
        self,
        stream: Stream,
        fields: Fields,
        limit_bytes: int,
        clock: Clock,
        timeout_s: float | None,
    ) -> None:
        super().__init__(limit_bytes, fields.get(b"grpc-encoding", b"identity"))
        self.fields = fields
        self._stream = stream
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._begun = False
        self._ended = False
        self._deadline_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        if timeout_s is not None:
            self._deadline_s = clock.now() + timeout_s
            delay_s = min(timeout_s, _LONGEST_TIMER_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_deadline)

    def remaining_s(self) -> float | None:
        """What is left of the deadline, if the client set one."""
        if self._deadline_s is None:
            return None
        return max(0.0, self._deadline_s - self._clock.now())

    # Called by the connection, besides what a reader of messages does

    def end(self) -> None:
        """The client has sent all that it will."""
        raise NotImplementedError

    def gone(self) -> None:
        """Nobody waits for the answer."""
        self._over_now()
        if self._task is not None:
            self._task.cancel()

    def cut(self) -> None:
        """The server goes."""
        self.fail(ShuttingDown("the server was shut down before the call ended"))

    def on_fault(self, error: CotenantError) -> None:
        self.fail(error)

    # Ends

    def fail(self, error: CotenantError) -> None:
        """End the call with an error, whatever its method is doing."""
        if not self._ended:
            trailers = error_trailers(error, self.fields)
            self._over_now()
            self._stream.send(trailers=trailers if self._begun else ANSWER_HEAD + trailers)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _succeed(self, pieces: Answer = (), size: int = 0) -> None:
        """End the call with its last message."""
        if not self._ended:
            self._over_now()
            head = None if self._begun else ANSWER_HEAD
            self._stream.send(head, pieces, size, ok_trailers(self.fields))

    def _over_now(self) -> None:
        self._ended = True
        self.stop()
        if self._timer is not None:
            self._timer.cancel()

    def _on_deadline(self) -> None:
        self.fail(DeadlineExceeded("the call's own deadline (grpc-timeout) has passed"))

    def _start(self, run: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        self._task = asyncio.get_running_loop().create_task(self._guarded(run, *arguments))

    async def _guarded(self, run: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        try:
            await run(*arguments)
        except CotenantError as error:
            self.fail(error)
        except asyncio.CancelledError:
            self.fail(ShuttingDown("the call was cancelled by the server"))
            raise
        except Exception:
            _log.exception("a call failed")
            self.fail(CotenantError("internal error; the server's log has more"))


class UnaryCall(Call):
    """One message in, one out."""

    def __init__(self, method: Unary, *common: Any) -> None:
        super().__init__(*common)
        self._method = method
        self._received: Message | None = None

    def on_message(self, message: Message) -> None:
        if self._received is None:
            self._received = message
        else:
            self.fail(Unsupported("more than one message was sent; this method takes one"))

    def end(self) -> None:
        if self._ended:
            return
        if self.in_message:
            self.fail(InvalidRequest("the request ended inside its message"))
        elif self._received is None:
            self.fail(Unsupported("no message was sent; this method takes one"))
        else:
            self._start(self._answer, self._received)
            self._received = None

    async def _answer(self, message: Message) -> None:
        pieces = await self._method(self, message)
        size = sum(map(len, pieces))
        self._succeed((PREFIX.pack(0, size), *pieces), size + PREFIX.size)


class StreamCall(Call):
    """Any number of messages in, any number out."""

    def __init__(self, method: Streaming, *common: Any) -> None:
        super().__init__(*common)
        self._inbox: deque[Message] = deque()
        self._complete = False
        self._news: asyncio.Future[None] | None = None
        self._start(self._run, method)

    async def receive(self) -> Message | None:
        """The next message, or `None` behind the last."""
        while not self._inbox:
            self.go_on()
            if self._inbox:
                break
            if self._complete:
                if self.in_message:
                    raise InvalidRequest("the request ended inside a message")
                return None
            self._stream.release()
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self._inbox.popleft()

    async def send(self, pieces: Answer) -> None:
        """Send a message, and wait until it has left."""
        size = sum(map(len, pieces))
        head = None if self._begun else ANSWER_HEAD
        self._begun = True
        self._stream.send(head, (PREFIX.pack(0, size), *pieces), size + PREFIX.size)
        await self._stream.drained()

    def on_message(self, message: Message) -> None:
        self._inbox.append(message)
        if len(self._inbox) >= _READ_AHEAD:
            # The client stops by itself when it has no more leave to send.
            self._stream.withhold()
            self.hold()
        self._tell()

    def end(self) -> None:
        self._complete = True
        self._tell()

    async def _run(self, method: Streaming) -> None:
        await method(self)
        self._succeed()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
