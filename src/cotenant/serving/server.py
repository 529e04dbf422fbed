"""A machine and settings become open ports; a signal drains and closes them."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from cotenant.core.errors import CotenantError, Unauthorized, WorkloadError
from cotenant.runtime.base import Runtime
from cotenant.serving import codec
from cotenant.serving.admission import Gatekeeper, Load
from cotenant.serving.dataplane import DataPlane
from cotenant.serving.grpc import Grpc
from cotenant.serving.http import HttpRequest, HttpResponse, HttpServer
from cotenant.serving.limits import Limits
from cotenant.serving.metrics import CONTENT_TYPE, Metrics
from cotenant.serving.records_file import RecordsFile
from cotenant.serving.repository import Follower, Repository
from cotenant.serving.rest import Rest, refuse
from cotenant.serving.security import Certificate, Token
from cotenant.serving.statistics import Statistics

_log = logging.getLogger(__name__)

_GRACE_S = 1.0
"""What written answers have to leave after the machine has drained."""
_FLUSH_S = 1.0
_SCRAPERS = 32
"""Connections to the metrics port."""


class Machine(Runtime, Protocol):
    """A runtime that the server starts and ends."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class Settings(NamedTuple):
    """Everything a user may choose about a server; port 0 is any free one."""

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    max_body_bytes: int = 64 * 2**20
    limits: Limits = Limits()
    """Of the REST port's connections."""
    exit_timeout_s: float = 30.0
    strict_readiness: bool = False
    token: str | None = None
    certificate: Certificate | None = None
    repository: Repository | None = None
    initial: tuple[str, ...] = ()
    """Models of the repository that are loaded before the server is ready."""
    explicit: bool = False
    """Clients may load and unload models of the repository."""
    poll_s: float | None = None
    """How often the repository is looked at; never when `None`."""
    records: Path | None = None
    admission: Gatekeeper | None = None
    """Asked before a model is loaded into the running server."""


class Ports(NamedTuple):
    """Where a started server listens."""

    http: int
    grpc: int
    metrics: int


class Server:
    """All listeners over one data plane."""

    def __init__(self, machine: Machine, settings: Settings) -> None:
        self._machine = machine
        self._settings = settings
        statistics = Statistics()
        self._metrics = Metrics(machine, statistics)
        machine.subscribe(statistics)
        machine.subscribe(self._metrics)
        self._records = None if settings.records is None else RecordsFile(settings.records)
        if self._records is not None:
            machine.subscribe(self._records)
        catalog = settings.repository if settings.explicit else None
        limit = settings.max_body_bytes
        gate = settings.admission
        self._load: Load = machine.load if gate is None else partial(gate.load, machine)
        self.plane = DataPlane(
            machine, statistics, catalog, limit, settings.strict_readiness, load=self._load
        )
        self._token = Token(settings.token)
        rest = Rest(self.plane, self._token, limit)
        self._http = HttpServer(rest.respond, refuse, limit, settings.limits, rest.hold)
        few = settings.limits._replace(connections=_SCRAPERS)
        self._scrapes = HttpServer(self._scrape, refuse, 0, few)
        self._grpc = Grpc(self.plane, self._token, limit, settings.certificate)
        self._background: list[asyncio.Task[None]] = []
        self._running = False

    async def start(self) -> Ports:
        """Open every port, then start the machine: a port in use is told before models load."""
        settings, host = self._settings, self._settings.host
        tls = None if settings.certificate is None else settings.certificate.context
        try:
            http_port = await _opened(
                "http", host, settings.http_port, lambda port: self._http.listen(host, port, tls)
            )
            grpc_port = await _opened(
                "grpc", host, settings.grpc_port, lambda port: self._grpc.listen(host, port)
            )
            metrics_port = await _opened(
                "metrics",
                host,
                settings.metrics_port,
                lambda port: self._scrapes.listen(host, port, tls),
            )
            follower = None
            if settings.repository is not None and settings.poll_s is not None:
                # Before anything loads: what changes meanwhile is a change, too.
                follower = Follower(
                    settings.repository, self._machine, settings.initial, self._load
                )
            await self._start_machine()
        except BaseException:
            await self._close()
            raise
        self.plane.open()
        if follower is not None and settings.poll_s is not None:
            self._background.append(asyncio.create_task(follower.follow(settings.poll_s)))
        if self._records is not None:
            self._background.append(asyncio.create_task(self._flush(self._records)))
        return Ports(http_port, grpc_port, metrics_port)

    async def stop(self) -> bool:
        """Turn unready, let what is running and queued end, close; false if some was cut off."""
        try:
            return await self.plane.drain(self._settings.exit_timeout_s)
        finally:
            await self._close()

    async def _start_machine(self) -> None:
        settings = self._settings
        try:
            await self._machine.start()
        except CotenantError:
            raise  # it has already let go of everything
        except BaseException:
            await self._machine.close()
            raise
        self._running = True
        for name in settings.initial:
            if settings.repository is not None:
                await self._machine.load(*settings.repository.find(name))

    async def _close(self) -> None:
        for task in self._background:
            task.cancel()
        # Before the listeners: what is cut off here is still answered, with an error.
        if self._running:
            self._running = False
            await self._machine.close()
        await asyncio.gather(
            self._http.close(_GRACE_S),
            self._scrapes.close(_GRACE_S),
            self._grpc.close(_GRACE_S),
        )
        if self._records is not None:
            self._records.close()

    async def _scrape(self, request: HttpRequest) -> HttpResponse:
        try:
            self._token.check(request.headers.get(b"authorization"))
        except Unauthorized as error:
            return refuse(codec.status_of(error).http, codec.message_of(error))
        if request.path != "/metrics":
            return refuse(404, f"there is no {request.path!r} here; see GET /metrics")
        if request.method not in ("GET", "HEAD"):
            return refuse(405, f"/metrics takes GET, not {request.method}")
        return HttpResponse(200, (self._metrics.exposition(),), content_type=CONTENT_TYPE)

    async def _flush(self, records: RecordsFile) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            records.flush()


async def serve(machine: Machine, settings: Settings, on_ready: Callable[[Ports], None]) -> bool:
    """Run a server until SIGTERM or SIGINT; a second signal ends it at once.

    Returns whether everything that was asked has been answered.
    """
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second if first.is_set() else first).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    server = Server(machine, settings)
    starting = asyncio.create_task(server.start())
    asked = asyncio.create_task(first.wait())
    await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
        return True
    on_ready(starting.result())
    await asked
    _log.info("draining for at most %g s; signal again to end at once", settings.exit_timeout_s)
    stopping = asyncio.create_task(server.stop())
    hurry = asyncio.create_task(second.wait())
    await asyncio.wait((stopping, hurry), return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not stopping.done():
        stopping.cancel()
        await asyncio.wait((stopping,))
        return False
    return stopping.result()


async def _opened(name: str, host: str, port: int, listen: Callable[[int], Awaitable[int]]) -> int:
    try:
        _probe(host, port)
        return await listen(port)
    except OSError as error:
        raise WorkloadError(_port_message(name, host, port, error)) from error


def _probe(host: str, port: int) -> None:
    """Raise `OSError` if the port cannot be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)
        # Listening, not binding, is what fails beside a listener that allows reuse.
        trial.listen(1)


def _port_message(name: str, host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} ({name}) on {host} is in use; "
            f"choose another with --{name}-port, or end what listens there"
        )
    if error.errno == errno.EACCES:
        return f"port {port} ({name}) needs privileges; choose one above 1023 with --{name}-port"
    return f"cannot listen on {host} port {port} ({name}): {error}; check --host and --{name}-port"
