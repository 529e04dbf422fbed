"""Tokens, certificates, and what stays open without them."""

import ssl
from pathlib import Path

import grpc
import numpy as np
import pytest

from cotenant.core.errors import Unauthorized, WorkloadError
from cotenant.serving.protocol import inference_pb2 as pb
from cotenant.serving.security import Certificate, Token, read_token
from tests.serving.served import TIMEOUT_S, Wire, served


def test_a_token_guards_all_but_health(certificate: tuple[Path, Path, ssl.SSLContext]) -> None:
    cert, key, context = certificate
    with served(token="s3cret", certificate=Certificate(cert, key)) as one:
        with Wire(one.ports.http, context) as wire:
            assert wire.ask("GET", "/v2/health/ready").status == 200
            reply = wire.ask("GET", "/v2")
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "bearer")
            assert "Bearer TOKEN" in reply.error
            wrong = wire.ask("GET", "/v2", headers={"authorization": "Bearer s3cre"})
            assert wrong.status == 401
            right = wire.ask("GET", "/v2", headers={"authorization": "bearer s3cret"})
            assert right.json["name"] == "cotenant"
            # Large enough for the path around the parser.
            image = np.arange(150_528, dtype="<f4").tobytes()
            headers = {"inference-header-content-length": "0", "authorization": "Bearer s3cret"}
            reply = wire.ask("POST", "/v2/models/image/infer", image, headers)
            assert reply.body.endswith(image)
        with Wire(one.ports.metrics, context) as wire:
            assert wire.ask("GET", "/metrics").status == 401
            token = {"authorization": "Bearer s3cret"}
            assert wire.ask("GET", "/metrics", headers=token).status == 200
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(f"localhost:{one.ports.grpc}", credentials) as channel:
            call = channel.unary_unary(
                "/inference.GRPCInferenceService/ServerMetadata",
                request_serializer=pb.ServerMetadataRequest.SerializeToString,
                response_deserializer=pb.ServerMetadataResponse.FromString,
            )
            with pytest.raises(grpc.RpcError) as raised:
                call(pb.ServerMetadataRequest(), timeout=TIMEOUT_S)
            assert raised.value.code().name == "UNAUTHENTICATED"
            metadata = [("authorization", "Bearer s3cret")]
            answer = call(pb.ServerMetadataRequest(), metadata=metadata, timeout=TIMEOUT_S)
            assert answer.name == "cotenant"


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"Bearer ", b"Basic s3cret", b"s3cret", b"Bearer s3cret2"]
)
def test_what_is_no_token(header: bytes | None) -> None:
    Token("s3cret").check(b"Bearer s3cret")
    Token(None).check(header)
    with pytest.raises(Unauthorized):
        Token("s3cret").check(header)


@pytest.mark.parametrize("content", ["", "two words", "grün"])
def test_a_token_file_that_cannot_be_meant(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(WorkloadError, match="one ASCII word"):
        read_token(file)
    file.write_text("s3cret\n", encoding="utf-8")
    assert read_token(file) == "s3cret"


def test_a_key_of_another_certificate(
    tmp_path: Path, certificate: tuple[Path, Path, ssl.SSLContext]
) -> None:
    other = tmp_path / "key.pem"
    other.write_text("no key\n", encoding="utf-8")
    with pytest.raises(WorkloadError, match="matching pair"):
        Certificate(certificate[0], other)
