"""gRPC messages become calls of the data plane, and what it says becomes messages."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import CotenantError, InvalidRequest, NotFound, ShuttingDown
from cotenant.serving import codec
from cotenant.serving.dataplane import DataPlane
from cotenant.serving.http2.server import Http2Server
from cotenant.serving.proto_form import (
    Received,
    build_answer,
    build_stream_answer,
    parameters_of,
    parse_call,
    receive,
)
from cotenant.serving.protocol import health_pb2 as health
from cotenant.serving.protocol import inference_pb2 as pb
from cotenant.serving.rpc.call import Answer, Call, StreamCall, Streaming, Unary
from cotenant.serving.rpc.messages import Message
from cotenant.serving.rpc.router import Router
from cotenant.serving.rpc.status import Fields
from cotenant.serving.security import Certificate, Token

_INFERENCE = "inference.GRPCInferenceService"
_HEALTH = "grpc.health.v1.Health"
_OPEN_METHODS = (b"ServerLive", b"ServerReady", b"Check", b"Watch")
_STREAM_AHEAD = 64
_WATCH_S = 1.0
_FRAMING_BYTES = 64 * 1024
"""What a message may hold besides its tensors."""

Parsed = TypeVar("Parsed")
Method = Callable[[Any, Call], Awaitable[Any]]


class Grpc:
    """The gRPC face of a data plane."""

    def __init__(
        self,
        plane: DataPlane,
        token: Token,
        max_body_bytes: int,
        certificate: Certificate | None = None,
    ) -> None:
        self._plane = plane
        self._token = token
        self._tls = None if certificate is None else certificate.grpc_context
        self._closing = asyncio.Event()
        limit_bytes = max_body_bytes + _FRAMING_BYTES
        router = Router(
            self._unary(), self._streaming(), self._admit, limit_bytes, MonotonicClock()
        )
        self._server = Http2Server(router.accept)

    async def listen(self, host: str, port: int) -> int:
        """Open the port (0: any free one) and return its number; raises `OSError`."""
        return await self._server.listen(host, port, self._tls)

    async def close(self, grace_s: float = 0.0) -> None:
        """Take no new call, give open ones `grace_s` to end, and cut off the rest."""
        self._closing.set()
        await self._server.close(grace_s)

    # Methods

    def _unary(self) -> dict[bytes, Unary]:
        inference: dict[str, tuple[Method, Any]] = {
            "ServerLive": (self._live, pb.ServerLiveRequest),
            "ServerReady": (self._ready, pb.ServerReadyRequest),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": (self._metadata, pb.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, pb.ModelMetadataRequest),
            "ModelConfig": (self._config, pb.ModelConfigRequest),
            "ModelStatistics": (self._statistics, pb.ModelStatisticsRequest),
            "RepositoryIndex": (self._index, pb.RepositoryIndexRequest),
            "RepositoryModelLoad": (self._load, pb.RepositoryModelLoadRequest),
            "RepositoryModelUnload": (self._unload, pb.RepositoryModelUnloadRequest),
        }
        methods = {
            f"/{_INFERENCE}/{name}".encode(): _plain(method, request)
            for name, (method, request) in inference.items()
        }
        methods[f"/{_INFERENCE}/ModelInfer".encode()] = self._infer
        check = _plain(self._health_check, health.HealthCheckRequest)
        methods[f"/{_HEALTH}/Check".encode()] = check
        return methods

    def _streaming(self) -> dict[bytes, Streaming]:
        return {
            f"/{_INFERENCE}/ModelStreamInfer".encode(): self._stream_infer,
            f"/{_HEALTH}/Watch".encode(): self._health_watch,
        }

    def _admit(self, path: bytes, fields: Fields) -> None:
        if path.rpartition(b"/")[2] not in _OPEN_METHODS:
            self._token.check(fields.get(b"authorization"))

    # Inference

    async def _infer(self, call: Call, message: Message) -> Answer:
        received = _parsed(receive, message)
        inferred = await self._plane.infer(parse_call(received, call.remaining_s()))
        return build_answer(received.request.id, inferred)

    async def _stream_infer(self, call: StreamCall) -> None:
        """Run a stream's requests side by side, and answer them in the order they came."""
        ahead: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue(_STREAM_AHEAD)
        started: set[asyncio.Task[Answer]] = set()

        async def read() -> None:
            try:
                while (message := await call.receive()) is not None:
                    received = _parsed(receive, message)
                    one = asyncio.create_task(self._one_of_stream(call, received))
                    started.add(one)
                    one.add_done_callback(started.discard)
                    await ahead.put(one)
            except Exception:
                await ahead.put(None)  # what came before is still answered
                raise
            await ahead.put(None)

        reader = asyncio.create_task(read())
        try:
            while (answer := await ahead.get()) is not None:
                await call.send(await answer)
            await reader
        finally:
            # The client may have gone away: nothing of its stream stays behind.
            for task in (reader, *started):
                task.cancel()

    async def _one_of_stream(self, call: Call, received: Received) -> Answer:
        request = received.request
        try:
            inferred = await self._plane.infer(parse_call(received, call.remaining_s()))
            return build_stream_answer(build_answer(request.id, inferred))
        except CotenantError as error:
            response = pb.ModelStreamInferResponse(
                error_message=codec.message_of(error),
                infer_response=pb.ModelInferResponse(id=request.id, model_name=request.model_name),
            )
        return (response.SerializeToString(),)

    # Facts

    async def _live(self, _request: Any, _call: Call) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, _request: Any, _call: Call) -> Any:
        return pb.ServerReadyResponse(ready=self._plane.ready())

    async def _model_ready(self, request: pb.ModelReadyRequest, _call: Call) -> Any:
        return pb.ModelReadyResponse(ready=self._plane.model_ready(request.name, request.version))

    async def _metadata(self, _request: Any, _call: Call) -> Any:
        return pb.ServerMetadataResponse(**self._plane.server_metadata())

    async def _model_metadata(self, request: pb.ModelMetadataRequest, _call: Call) -> Any:
        metadata = self._plane.metadata(request.name, request.version)
        return ParseDict(metadata, pb.ModelMetadataResponse())

    async def _config(self, request: pb.ModelConfigRequest, _call: Call) -> Any:
        config = self._plane.config(request.name, request.version)
        return ParseDict({"config": config}, pb.ModelConfigResponse())

    async def _statistics(self, request: pb.ModelStatisticsRequest, _call: Call) -> Any:
        statistics = self._plane.model_statistics(request.name, request.version)
        return ParseDict(statistics, pb.ModelStatisticsResponse())

    # Repository

    async def _index(self, request: pb.RepositoryIndexRequest, _call: Call) -> Any:
        return ParseDict({"models": self._plane.index(request.ready)}, pb.RepositoryIndexResponse())

    async def _load(self, request: pb.RepositoryModelLoadRequest, _call: Call) -> Any:
        await self._plane.load(request.model_name, parameters_of(request.parameters))
        return pb.RepositoryModelLoadResponse()

    async def _unload(self, request: pb.RepositoryModelUnloadRequest, _call: Call) -> Any:
        await self._plane.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    # Health

    async def _health_check(self, request: health.HealthCheckRequest, _call: Call) -> Any:
        status = self._health_of(request.service)
        if status == health.HealthCheckResponse.SERVICE_UNKNOWN:
            raise NotFound(f"there is no service {request.service!r}; ask for '' or {_INFERENCE!r}")
        return health.HealthCheckResponse(status=status)

    async def _health_watch(self, call: StreamCall) -> None:
        message = await call.receive()
        if message is None:
            raise InvalidRequest("no message was sent; Watch takes one")
        request = _parsed(health.HealthCheckRequest.FromString, message)
        last = None
        while not self._closing.is_set():
            status = self._health_of(request.service)
            if status != last:
                last = status
                await call.send((health.HealthCheckResponse(status=status).SerializeToString(),))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _WATCH_S)
        raise ShuttingDown("the server is shut down")

    def _health_of(self, service: str) -> health.HealthCheckResponse.ServingStatus:
        status = health.HealthCheckResponse
        if service not in ("", _INFERENCE, _HEALTH):
            return status.SERVICE_UNKNOWN
        return status.SERVING if self._plane.ready() else status.NOT_SERVING


def _plain(method: Method, request: Any) -> Unary:
    """A method of whole messages as one of bytes."""

    async def answer(call: Call, message: Message) -> Answer:
        response = await method(_parsed(request.FromString, message), call)
        return (response.SerializeToString(),)

    return answer


def _parsed(parse: Callable[[Any], Parsed], message: Message) -> Parsed:
    try:
        return parse(message)
    except DecodeError as error:
        raise InvalidRequest(f"the message is not of the method's type: {error}") from error
