"""gRPC messages become calls of the data plane, and what it says becomes messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict

from cotenant.core.errors import CotenantError, NotFound
from cotenant.serving import codec
from cotenant.serving.dataplane import DataPlane
from cotenant.serving.proto_form import Received, build_answer, parameters_of, parse_call, receive
from cotenant.serving.protocol import health_pb2 as health
from cotenant.serving.protocol import inference_pb2 as pb
from cotenant.serving.security import Certificate, Token

_INFERENCE = "inference.GRPCInferenceService"
_HEALTH = "grpc.health.v1.Health"
_OPEN_METHODS = ("ServerLive", "ServerReady")
_STREAM_AHEAD = 64
_WATCH_S = 1.0
_FRAMING_BYTES = 64 * 1024
"""What a message may hold besides its tensors."""
_WINDOW_BYTES = 4 * 2**20

Context = Any
Method = Callable[[Any, Context], Awaitable[Any]]


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
        self._certificate = certificate
        limit = max_body_bytes + _FRAMING_BYTES
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                # Without this a second server on the port would silently share its requests.
                ("grpc.so_reuseport", 0),
                # The default window makes a client wait for leave several times in one tensor.
                ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
            )
        )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(_INFERENCE, self._inference_methods()),
                grpc.method_handlers_generic_handler(_HEALTH, self._health_methods()),
            )
        )

    async def listen(self, host: str, port: int) -> int:
        """Open the port (0: any free one) and return its number; raises `OSError`."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._certificate is None:
                bound = self._server.add_insecure_port(address)
            else:
                pair = (self._certificate.key_pem, self._certificate.certificate_pem)
                bound = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except RuntimeError as error:
            raise OSError(str(error)) from error
        await self._server.start()
        return int(bound)

    async def close(self, grace_s: float | None = None) -> None:
        """Take no new call, give open ones `grace_s` to end, and cut off the rest."""
        await self._server.stop(grace_s)

    # Methods

    def _inference_methods(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        plain: dict[str, tuple[Method, Any]] = {
            "ServerLive": (self._live, pb.ServerLiveRequest.FromString),
            "ServerReady": (self._ready, pb.ServerReadyRequest.FromString),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest.FromString),
            "ServerMetadata": (self._metadata, pb.ServerMetadataRequest.FromString),
            "ModelMetadata": (self._model_metadata, pb.ModelMetadataRequest.FromString),
            "ModelInfer": (self._infer, receive),
            "ModelConfig": (self._config, pb.ModelConfigRequest.FromString),
            "ModelStatistics": (self._statistics, pb.ModelStatisticsRequest.FromString),
            "RepositoryIndex": (self._index, pb.RepositoryIndexRequest.FromString),
            "RepositoryModelLoad": (self._load, pb.RepositoryModelLoadRequest.FromString),
            "RepositoryModelUnload": (self._unload, pb.RepositoryModelUnloadRequest.FromString),
        }
        methods: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(method, checked=name not in _OPEN_METHODS),
                request_deserializer=parse,
                response_serializer=_serialize,
            )
            for name, (method, parse) in plain.items()
        }
        methods["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self._stream_infer,
            request_deserializer=receive,
            response_serializer=_serialize,
        )
        return methods

    def _health_methods(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        return {
            "Check": grpc.unary_unary_rpc_method_handler(
                self._guarded(self._health_check, checked=False),
                request_deserializer=health.HealthCheckRequest.FromString,
                response_serializer=_serialize,
            ),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self._health_watch,
                request_deserializer=health.HealthCheckRequest.FromString,
                response_serializer=_serialize,
            ),
        }

    def _guarded(self, method: Method, checked: bool) -> Method:
        """The method behind the token, with its errors as gRPC codes."""

        async def guarded(request: Any, context: Context) -> Any:
            try:
                self._admit(context, checked)
                return await method(request, context)
            except CotenantError as error:
                code = grpc.StatusCode[codec.status_of(error).grpc]
                return await context.abort(code, codec.message_of(error))

        return guarded

    def _admit(self, context: Context, checked: bool) -> None:
        authorization = None
        for key, value in context.invocation_metadata() or ():
            if key == "traceparent":
                context.set_trailing_metadata((("traceparent", value),))
            elif key == "authorization":
                authorization = value.encode()
        if checked:
            self._token.check(authorization)

    # Inference

    async def _infer(self, received: Received, context: Context) -> Any:
        inferred = await self._plane.infer(parse_call(received, context.time_remaining()))
        return build_answer(received.request.id, inferred)

    async def _stream_infer(
        self, requests: AsyncIterator[Received], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Run a stream's requests side by side, and answer them in the order they came."""
        try:
            self._admit(context, checked=True)
        except CotenantError as error:
            await context.abort(
                grpc.StatusCode[codec.status_of(error).grpc], codec.message_of(error)
            )
        ahead: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(_STREAM_AHEAD)
        started: set[asyncio.Task[Any]] = set()

        async def read() -> None:
            async for received in requests:
                one = asyncio.create_task(self._one_of_stream(received, context))
                started.add(one)
                one.add_done_callback(started.discard)
                await ahead.put(one)
            await ahead.put(None)

        reader = asyncio.create_task(read())
        try:
            while (answer := await ahead.get()) is not None:
                yield await answer
        finally:
            # The client may have gone away: nothing of its stream stays behind.
            for task in (reader, *started):
                task.cancel()

    async def _one_of_stream(
        self, received: Received, context: Context
    ) -> pb.ModelStreamInferResponse:
        try:
            return pb.ModelStreamInferResponse(infer_response=await self._infer(received, context))
        except CotenantError as error:
            request = received.request
            return pb.ModelStreamInferResponse(
                error_message=codec.message_of(error),
                infer_response=pb.ModelInferResponse(id=request.id, model_name=request.model_name),
            )

    # Facts

    async def _live(self, _request: Any, _context: Context) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, _request: Any, _context: Context) -> Any:
        return pb.ServerReadyResponse(ready=self._plane.ready())

    async def _model_ready(self, request: pb.ModelReadyRequest, _context: Context) -> Any:
        return pb.ModelReadyResponse(ready=self._plane.model_ready(request.name, request.version))

    async def _metadata(self, _request: Any, _context: Context) -> Any:
        return pb.ServerMetadataResponse(**self._plane.server_metadata())

    async def _model_metadata(self, request: pb.ModelMetadataRequest, _context: Context) -> Any:
        metadata = self._plane.metadata(request.name, request.version)
        return ParseDict(metadata, pb.ModelMetadataResponse())

    async def _config(self, request: pb.ModelConfigRequest, _context: Context) -> Any:
        config = self._plane.config(request.name, request.version)
        return ParseDict({"config": config}, pb.ModelConfigResponse())

    async def _statistics(self, request: pb.ModelStatisticsRequest, _context: Context) -> Any:
        statistics = self._plane.model_statistics(request.name, request.version)
        return ParseDict(statistics, pb.ModelStatisticsResponse())

    # Repository

    async def _index(self, request: pb.RepositoryIndexRequest, _context: Context) -> Any:
        return ParseDict({"models": self._plane.index(request.ready)}, pb.RepositoryIndexResponse())

    async def _load(self, request: pb.RepositoryModelLoadRequest, _context: Context) -> Any:
        await self._plane.load(request.model_name, parameters_of(request.parameters))
        return pb.RepositoryModelLoadResponse()

    async def _unload(self, request: pb.RepositoryModelUnloadRequest, _context: Context) -> Any:
        await self._plane.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    # Health

    async def _health_check(self, request: health.HealthCheckRequest, _context: Context) -> Any:
        status = self._health_of(request.service)
        if status == health.HealthCheckResponse.SERVICE_UNKNOWN:
            raise NotFound(f"there is no service {request.service!r}; ask for '' or {_INFERENCE!r}")
        return health.HealthCheckResponse(status=status)

    async def _health_watch(
        self, request: health.HealthCheckRequest, _context: Context
    ) -> AsyncIterator[health.HealthCheckResponse]:
        last = None
        while True:
            status = self._health_of(request.service)
            if status != last:
                last = status
                yield health.HealthCheckResponse(status=status)
            await asyncio.sleep(_WATCH_S)

    def _health_of(self, service: str) -> health.HealthCheckResponse.ServingStatus:
        status = health.HealthCheckResponse
        if service not in ("", _INFERENCE, _HEALTH):
            return status.SERVICE_UNKNOWN
        return status.SERVING if self._plane.ready() else status.NOT_SERVING


def _serialize(message: Any) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized
