"""Bytes of HTTP/1.1 connections become requests; their responses become bytes again.

One coroutine answers each request, and is cancelled when its client goes away. Whatever is
wrong with the bytes themselves is answered here, through the same `refuse` that the routes
use, so that a client sees one shape of error. A response leaves in one write: head and body
in two would wait for the client's delayed acknowledgement. Clients that are too many or too
slow are ended by the rules of `limits.py`.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

import httptools

from cotenant.core.clock import wall_time_s
from cotenant.serving.limits import Limits

_log = logging.getLogger(__name__)

_MAX_HEAD_BYTES = 64 * 1024
_JOINED_BYTES = 16 * 1024
_SCRATCH_BYTES = 64 * 1024
_LINGER_S = 1.0
_REASON = {status.value: status.phrase.encode() for status in HTTPStatus} | {499: b"Client Gone"}


class HttpRequest(NamedTuple):
    """One request, complete with its body."""

    method: str
    path: str
    """Without the query, still percent-encoded."""
    headers: dict[bytes, bytes]
    """Names in lower case; the last of equal names counts."""
    body: bytearray


class HttpResponse(NamedTuple):
    """One response; the pieces of its body are sent one behind the other."""

    status: int
    body: Sequence[bytes | memoryview]
    headers: Sequence[tuple[bytes, bytes]] = ()
    content_type: bytes = b"application/json"


Respond = Callable[[HttpRequest], Awaitable[HttpResponse]]
Refuse = Callable[[int, str], HttpResponse]
Hold = Callable[[bytes, Callable[[], None]], bool]
"""A path and what resumes reading go in; whether the body should be left unread till then."""


class HttpServer:
    """One listening port."""

    def __init__(
        self,
        respond: Respond,
        refuse: Refuse,
        max_body_bytes: int,
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        hold: Hold | None = None,
    ) -> None:
        self.hold = hold
        self.respond = respond
        self.refuse = refuse
        self.max_body_bytes = max_body_bytes
        self.limits = limits
        self.connections: set[_Connection] = set()
        self.closing = False
        self.date = b""
        # Where all connections receive: what is in it has been taken out before the next one.
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._server: asyncio.Server | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Open the port (0: any free one) and return its number; raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, loop),
            host,
            port,
            ssl=tls,
            backlog=1024,
            ssl_handshake_timeout=None if tls is None else self.limits.head_s,
        )
        self._on_tick()
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Take no new connection, and end each open one behind its current request."""
        self.closing = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.close_when_idle()

    async def close(self, grace_s: float = 0.0) -> None:
        """Give answers that are being written `grace_s` to leave, then let go of everything."""
        self.stop()
        if self._tick is not None:
            self._tick.cancel()
        if self.connections and grace_s:
            self._empty = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace_s)
        for connection in tuple(self.connections):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()

    def forget(self, connection: "_Connection") -> None:
        """Called by a connection that has ended."""
        self.connections.discard(connection)
        if self._empty is not None and not self.connections:
            self._empty.set()

    def _on_tick(self) -> None:
        self.date = formatdate(wall_time_s(), usegmt=True).encode()
        for connection in tuple(self.connections):
            connection.on_tick()
        self._tick = asyncio.get_running_loop().call_later(self.limits.tick_s, self._on_tick)


class _Connection(asyncio.BufferedProtocol):
    """One client's connection: at most one request of it is answered at a time.

    A large body is received where it stays: the parser reads the head, and the rest goes from
    the socket into one buffer of the announced length, which later becomes the tensors.
    """

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[HttpRequest, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._quiet_s = 0.0
        self._stalled_s = 0.0
        self._unsent_bytes = 0
        self._refused = False
        self._on_new_request()

    def _on_new_request(self) -> None:
        self._begun = False
        self._in_head = True
        self._reading_s = 0.0
        self._head_bytes = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._method = ""
        self._keep = True
        self._body = bytearray()
        self._body_bytes = 0
        self._rest: memoryview | None = None

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        open_now, limits = len(self._server.connections), self._server.limits
        self._server.connections.add(self)
        if open_now >= limits.connections + limits.turned_away:
            self._transport.abort()
        elif open_now >= limits.connections:
            self._refuse(
                503,
                f"{limits.connections} connections are open already; keep fewer, try again "
                "later, or raise --max-connections",
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        self._waiting.clear()
        self._can_write.set()
        if self._task is not None:
            self._task.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server.scratch if self._rest is None else self._rest

    def buffer_updated(self, nbytes: int) -> None:
        if self._rest is None:
            self._parse(self._server.scratch[:nbytes])
        elif nbytes < len(self._rest):
            self._rest = self._rest[nbytes:]
        else:
            # The parser has not seen this body, and waits for it still.
            self._parser = httptools.HttpRequestParser(self)
            self.on_message_complete()

    def _parse(self, received: memoryview) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(received)
        try:
            self._parser.feed_data(received)
        except httptools.HttpParserUpgrade as upgrade:
            # We speak HTTP/1.1 alone, and a server may go on with what it speaks.
            self._parser = httptools.HttpRequestParser(self)
            self._parse(received[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(400, f"malformed HTTP: {error}")
        else:
            if self._in_head and self._head_bytes > _MAX_HEAD_BYTES:
                self._refuse(431, f"the request's head is over {_MAX_HEAD_BYTES} bytes; shorten it")
            elif self._body_bytes < len(self._body):
                self._rest = memoryview(self._body)[self._body_bytes :]

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    # Called by the parser

    def on_message_begin(self) -> None:
        self._on_new_request()
        self._begun = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._reading_s = 0.0
        self._method = self._parser.get_method().decode("latin-1")
        self._keep = self._parser.should_keep_alive()
        announced = self._headers.get(b"content-length", b"0")
        length = int(announced) if announced.isdigit() else 0
        if length > self._server.max_body_bytes:
            self._refuse_body(length)
        elif length > _SCRATCH_BYTES and not self._parser.should_upgrade():
            self._body = bytearray(length)
            if self._server.hold is not None and self._server.hold(self._url, self._read_on):
                self._transport.pause_reading()
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._refused:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        start, self._body_bytes = self._body_bytes, self._body_bytes + len(body)
        if self._body_bytes > self._server.max_body_bytes:
            self._refuse_body(self._body_bytes)
        else:
            self._body[start : self._body_bytes] = body

    def on_message_complete(self) -> None:
        if self._refused:
            return
        path = self._url.partition(b"?")[0].decode("latin-1")
        request = HttpRequest(self._method, path, self._headers, self._body)
        keep = self._keep
        self._on_new_request()
        if self._task is None:
            self._start(request, keep)
        else:
            self._waiting.append((request, keep))
            self._transport.pause_reading()

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # One request after the other

    def _start(self, request: HttpRequest, keep: bool) -> None:
        self._quiet_s = 0.0
        self._task = self._loop.create_task(self._answer(request, keep))

    async def _answer(self, request: HttpRequest, keep: bool) -> None:
        try:
            response = await self._server.respond(request)
        except Exception:
            _log.exception("could not answer %s %s", request.method, request.path)
            response = self._server.refuse(500, "internal error; the server's log has more")
        if not self._can_write.is_set():
            await self._can_write.wait()
        self._task = None
        keep = keep and not self._server.closing
        self._send(response, keep, with_body=request.method != "HEAD")
        if not keep:
            self._transport.close()
        elif self._waiting:
            self._start(*self._waiting.popleft())
            if not self._waiting:
                self._transport.resume_reading()

    def _send(self, response: HttpResponse, keep: bool, with_body: bool = True) -> None:
        if self._transport.is_closing():
            return
        length = sum(len(piece) for piece in response.body)
        head = [
            b"HTTP/1.1 %d %b\r\ndate: %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n"
            % (
                response.status,
                _REASON.get(response.status, b""),
                self._server.date,
                response.content_type,
                length,
            )
        ]
        head += [b"%b: %b\r\n" % header for header in response.headers]
        head.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
        pieces = [*head, *response.body] if with_body else head
        if length < _JOINED_BYTES:
            self._transport.write(b"".join(pieces))
        else:
            self._transport.writelines((b"".join(head), *pieces[len(head) :]))

    # Ends

    def _refuse_body(self, length: int) -> None:
        limit = self._server.max_body_bytes
        self._refuse(
            413, f"a body of {length} bytes is over the limit of {limit}; see --max-body-size"
        )

    def _refuse(self, status: int, message: str) -> None:
        """Answer what cannot be read further, and leave the client time to read the answer."""
        if self._refused:
            return
        self._refused = True
        if self._task is not None:
            # An earlier request of this connection is still being answered; its client sees
            # that answer, and then the end of the connection.
            self._waiting.clear()
            self._task.add_done_callback(lambda _: self._transport.close())
            return
        self._send(self._server.refuse(status, message), keep=False)
        # Closing now would reset the connection under a client that is still sending.
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._loop.call_later(_LINGER_S, self._transport.close)

    def on_tick(self) -> None:
        """End the connection if its client is too slow: to ask, to take its answer, to go on."""
        limits = self._server.limits
        unsent_bytes = self._transport.get_write_buffer_size()
        if unsent_bytes or self._transport.is_closing():
            moved = unsent_bytes != self._unsent_bytes
            self._unsent_bytes = unsent_bytes
            self._stalled_s = 0.0 if moved else self._stalled_s + limits.tick_s
            if self._stalled_s >= limits.stalled_s:
                self._transport.abort()
        elif self._task is not None or self._refused:
            return
        elif self._begun:
            self._reading_s += limits.tick_s
            self._check_pace(limits)
        else:
            self._quiet_s += limits.tick_s
            if self._quiet_s >= limits.idle_s:
                self._transport.close()

    def _check_pace(self, limits: Limits) -> None:
        if self._in_head:
            if self._reading_s > limits.head_s:
                self._refuse(
                    408, f"the request's head took over {limits.head_s:g} s; send it whole"
                )
            return
        received = self._body_bytes if self._rest is None else len(self._body) - len(self._rest)
        if self._reading_s > limits.body_allowed_s(received):
            self._refuse(
                408,
                f"{received} bytes of the body came in {self._reading_s:.0f} s; after "
                f"{limits.body_s:g} s send {limits.body_bytes_per_s:g} bytes/s or more",
            )

    def close_when_idle(self) -> None:
        if self._task is None:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
