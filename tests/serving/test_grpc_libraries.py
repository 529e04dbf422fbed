"""Clients that others wrote: grpcio's two, and grpclib, which shares nothing with it."""

import asyncio
import socket
import ssl
from pathlib import Path

import grpc
import pytest
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.exceptions import GRPCError

from cotenant.serving.protocol import inference_pb2 as pb
from cotenant.serving.security import Certificate
from tests.serving.peer import double, image, slow
from tests.serving.served import TIMEOUT_S, Served, served

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_LARGE = (("grpc.max_receive_message_length", 1 << 24),)
_PACKINGS = [grpc.Compression.NoCompression, grpc.Compression.Deflate, grpc.Compression.Gzip]


@pytest.mark.parametrize("packing", _PACKINGS)
def test_grpcio(server: Served, packing: grpc.Compression) -> None:
    request = image()
    address = f"127.0.0.1:{server.ports.grpc}"
    with grpc.insecure_channel(address, _LARGE, packing) as channel:
        call = channel.unary_unary(
            _INFER,
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        for _ in range(20):
            answer = call(request, timeout=TIMEOUT_S)
            assert answer.raw_output_contents[0] == request.raw_input_contents[0]
        under_way = [call.future(double(str(index)), timeout=TIMEOUT_S) for index in range(200)]
        assert [one.result().id for one in under_way] == [str(index) for index in range(200)]


@pytest.mark.parametrize("packing", _PACKINGS)
def test_grpcio_for_asyncio(server: Served, packing: grpc.Compression) -> None:
    async def ask() -> None:
        address = f"127.0.0.1:{server.ports.grpc}"
        async with grpc.aio.insecure_channel(address, _LARGE, packing) as channel:
            call = channel.unary_unary(
                _INFER,
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            requests = [image(index) for index in range(8)]
            answers = await asyncio.gather(*(call(one, timeout=TIMEOUT_S) for one in requests))
            for request, answer in zip(requests, answers, strict=True):
                assert answer.raw_output_contents[0] == request.raw_input_contents[0]
            stream = channel.stream_stream(
                "/inference.GRPCInferenceService/ModelStreamInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelStreamInferResponse.FromString,
            )(iter([*requests, double("last")]), timeout=TIMEOUT_S)
            got = [one.infer_response async for one in stream]
            assert (len(got), got[-1].id) == (9, "last")

    asyncio.run(ask())


def test_grpclib(server: Served) -> None:
    async def ask() -> None:
        async with Channel("127.0.0.1", server.ports.grpc) as channel:
            call: UnaryUnaryMethod[pb.ModelInferRequest, pb.ModelInferResponse] = UnaryUnaryMethod(
                channel, _INFER, pb.ModelInferRequest, pb.ModelInferResponse
            )
            request = image()
            answers = await asyncio.gather(*(call(request) for _ in range(4)))
            assert {one.raw_output_contents[0] for one in answers} == {
                request.raw_input_contents[0]
            }
            with pytest.raises(GRPCError) as raised:
                await call(pb.ModelInferRequest(model_name="gr\xfcn"))
            assert "'gr\xfcn'" in str(raised.value.message)
            with pytest.raises((GRPCError, TimeoutError)):
                await call(slow(), timeout=0.1)
            assert (await call(double("x"), timeout=TIMEOUT_S)).id == "x"

    asyncio.run(ask())


def test_a_large_message_over_tls(certificate: tuple[Path, Path, ssl.SSLContext]) -> None:
    cert, key, _ = certificate
    request = image()
    with served(certificate=Certificate(cert, key)) as one:
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        address = f"localhost:{one.ports.grpc}"
        with grpc.secure_channel(address, credentials, _LARGE) as channel:
            call = channel.unary_unary(
                _INFER,
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            for _ in range(5):
                answer = call(request, timeout=TIMEOUT_S)
                assert answer.raw_output_contents[0] == request.raw_input_contents[0]
        offering = ssl.create_default_context(cafile=str(cert))
        offering.set_alpn_protocols(["http/1.1", "h2"])
        with (
            socket.create_connection(("localhost", one.ports.grpc), TIMEOUT_S) as plain,
            offering.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.selected_alpn_protocol() == "h2"
