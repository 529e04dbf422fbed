"""A server over the fake machine, on free loopback ports, in a thread of its own."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import orjson
import uvloop

from cotenant.serving.server import Ports, Server, Settings
from tests.serving.fake_runtime import FakeRuntime

TIMEOUT_S = 10.0


class Served(NamedTuple):
    """A running server, and how to reach into its loop."""

    runtime: FakeRuntime
    server: Server
    ports: Ports
    loop: asyncio.AbstractEventLoop

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(TIMEOUT_S)

    def call(self, function: Callable[[], object]) -> None:
        async def called() -> None:
            function()

        self.run(called())

    def wait_until(self, true: Callable[[], bool]) -> None:
        for _ in range(2000):
            if true():
                return
            time.sleep(0.005)
        raise AssertionError("it did not become true")


@contextlib.contextmanager
def served(**settings: Any) -> Iterator[Served]:
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runtime = FakeRuntime()
    try:

        async def start() -> tuple[Server, Ports]:
            given = {"http_port": 0, "grpc_port": 0, "metrics_port": 0, "exit_timeout_s": 0.2}
            server = Server(runtime, Settings(**(given | settings)))
            return server, await server.start()

        server, ports = asyncio.run_coroutine_threadsafe(start(), loop).result(TIMEOUT_S)
        one = Served(runtime, server, ports, loop)
        try:
            yield one
        finally:
            one.run(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT_S)
        loop.close()


class Reply(NamedTuple):
    """An HTTP response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an error; there is nothing beside it."""
        content = self.json
        assert list(content) == ["error"]
        return str(content["error"])


class Wire:
    """A raw connection: what a test sends is what the server gets."""

    def __init__(self, port: int, context: Any = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._buffer = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return self.reply(method)

    def reply(self, method: str = "GET") -> Reply:
        while b"\r\n\r\n" not in self._buffer:
            self._read()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = 0 if method == "HEAD" else int(headers["content-length"])
        while len(self._buffer) < length:
            self._read()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Reply(int(status.split(" ")[1]), headers, body)

    def ended(self) -> bool:
        """Whether the server has closed the connection, with nothing more to say."""
        return not self._buffer and self.socket.recv(1) == b""

    def _read(self) -> None:
        received = self.socket.recv(1 << 20)
        assert received, f"the connection ended inside a response: {self._buffer!r}"
        self._buffer += received
