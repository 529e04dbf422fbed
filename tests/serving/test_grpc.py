"""gRPC calls through our own messages; tritonclient's run in an interpreter of their own."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from cotenant.core.errors import DeadlineExceeded, QueueFull
from cotenant.serving.protocol import health_pb2 as health
from cotenant.serving.protocol import inference_pb2 as pb
from tests.serving.served import TIMEOUT_S, Served

_SERVICE = "/inference.GRPCInferenceService/"


class Caller:
    """A channel, with methods called by name."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def __call__(self, name: str, request: Any, answer: Any, **options: Any) -> Any:
        call = self.channel.unary_unary(
            name if name.startswith("/") else _SERVICE + name,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return call(request, **({"timeout": TIMEOUT_S} | options))

    def infer(self, request: pb.ModelInferRequest, **options: Any) -> pb.ModelInferResponse:
        answer: pb.ModelInferResponse = self(
            "ModelInfer", request, pb.ModelInferResponse, **options
        )
        return answer


@pytest.fixture
def caller(server: Served) -> Iterator[Caller]:
    with grpc.insecure_channel(f"127.0.0.1:{server.ports.grpc}") as channel:
        yield Caller(channel)


def _double(**more: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="double", **more)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.arange(4, dtype="<f4").tobytes())
    return request


def _slow() -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="slow", raw_input_contents=[b"\1"])
    request.inputs.add(name="x", datatype="UINT8", shape=[1])
    return request


def _with_parameter(name: str, **value: Any) -> pb.ModelInferRequest:
    request = _double()
    request.parameters[name].MergeFrom(pb.InferParameter(**value))
    return request


def test_facts(caller: Caller) -> None:
    assert caller("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse).live
    assert caller("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready
    ready = caller("ModelReady", pb.ModelReadyRequest(name="pair"), pb.ModelReadyResponse)
    assert ready.ready
    server = caller("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
    assert "statistics" in server.extensions
    metadata = caller(
        "ModelMetadata", pb.ModelMetadataRequest(name="double"), pb.ModelMetadataResponse
    )
    assert list(metadata.inputs[0].shape) == [-1, 4]
    config = caller(
        "ModelConfig", pb.ModelConfigRequest(name="double"), pb.ModelConfigResponse
    ).config
    assert (config.max_batch_size, list(config.input[0].dims)) == (4, [4])
    assert config.input[0].data_type == pb.TYPE_FP32
    index = caller("RepositoryIndex", pb.RepositoryIndexRequest(), pb.RepositoryIndexResponse)
    assert "pair" in {model.name for model in index.models}


def test_statistics(caller: Caller) -> None:
    def count() -> int:
        stats = caller(
            "ModelStatistics", pb.ModelStatisticsRequest(name="double"), pb.ModelStatisticsResponse
        ).model_stats[0]
        return int(stats.inference_stats.queue.count)

    before = count()
    caller.infer(_double())
    assert count() == before + 1


def test_raw_and_typed_contents_give_the_same(caller: Caller) -> None:
    typed = pb.ModelInferRequest(model_name="double", id="a")
    tensor = typed.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([0, 1, 2, 3])
    one, other = caller.infer(_double(id="a")), caller.infer(typed)
    assert one == other
    assert np.frombuffer(one.raw_output_contents[0], "<f4").tolist() == [0, 2, 4, 6]
    assert (one.id, one.outputs[0].datatype, list(one.outputs[0].shape)) == ("a", "FP32", [1, 4])


def test_typed_strings_and_bools(caller: Caller) -> None:
    strings = pb.ModelInferRequest(model_name="echo-object")
    tensor = strings.inputs.add(name="x", datatype="BYTES", shape=[1, 2])
    tensor.contents.bytes_contents.extend([b"", "é".encode()])
    answer = caller.infer(strings)
    assert answer.raw_output_contents[0] == b"\0\0\0\0\2\0\0\0" + "é".encode()
    bools = pb.ModelInferRequest(model_name="echo-bool")
    tensor = bools.inputs.add(name="x", datatype="BOOL", shape=[2, 1])
    tensor.contents.bool_contents.extend([True, False])
    assert caller.infer(bools).raw_output_contents[0] == b"\1\0"


def test_promises_reach_the_machine(caller: Caller, server: Served) -> None:
    request = _with_parameter("timeout", int64_param=2_000_000)
    request.parameters["priority"].uint64_param = 1
    caller.infer(request, timeout=5)
    asked = server.runtime.asked[-1]
    assert (asked["level"], asked["timeout_s"]) == (1, 2.0)
    # gRPC rounds the client's deadline up on its way.
    assert 4 < float(str(asked["deadline_s"])) < 5.5
    request.parameters["deadline_us"].int64_param = 1_000
    caller.infer(request, timeout=5)
    assert server.runtime.asked[-1]["deadline_s"] == 0.001


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        (pb.ModelInferRequest(model_name="none"), "NOT_FOUND", "Request for unknown model"),
        (_double(model_version="2"), "NOT_FOUND", "version '2'"),
        (pb.ModelInferRequest(model_name="double"), "INVALID_ARGUMENT", "missing input 'x'"),
        (_double(raw_input_contents=[b"1", b"2"]), "INVALID_ARGUMENT", "3 entries for 1 inputs"),
        (_with_parameter("timeout", int64_param=-1), "INVALID_ARGUMENT", "0 or more"),
        (_with_parameter("timeout", int64_param=2**62), "INVALID_ARGUMENT", "at most"),
        (_with_parameter("timeout", string_param="1"), "INVALID_ARGUMENT", "'timeout' is '1'"),
        (_with_parameter("timeout"), "INVALID_ARGUMENT", "no value"),
        (_with_parameter("sequence_id", int64_param=3), "UNIMPLEMENTED", "sequences"),
    ],
)
def test_wrong_requests(
    caller: Caller, request_: pb.ModelInferRequest, code: str, says: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        caller.infer(request_)
    assert (raised.value.code().name, says in raised.value.details()) == (code, True)


def test_contents_of_the_wrong_field(caller: Caller) -> None:
    request = pb.ModelInferRequest(model_name="double")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp64_contents.extend([0, 1, 2, 3])
    with pytest.raises(grpc.RpcError, match="send fp32_contents"):
        caller.infer(request)
    half = pb.ModelInferRequest(model_name="echo-float16")
    half.inputs.add(name="x", datatype="FP16", shape=[1, 1])
    with pytest.raises(grpc.RpcError, match="raw_input_contents"):
        caller.infer(half)
    both = _double()
    both.inputs[0].contents.fp32_contents.append(1)
    with pytest.raises(grpc.RpcError, match="send one"):
        caller.infer(both)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QueueFull("64 wait"), "UNAVAILABLE"),
        (DeadlineExceeded("it waited 2 s"), "DEADLINE_EXCEEDED"),
    ],
)
def test_the_machines_errors(caller: Caller, server: Served, error: Any, code: str) -> None:
    server.runtime.fail_with = error
    with pytest.raises(grpc.RpcError) as raised:
        caller.infer(_double())
    assert raised.value.code().name == code


def test_a_message_over_the_limit_is_refused(caller: Caller) -> None:
    request = _double()
    request.raw_input_contents[0] = bytes(2 << 20)
    with pytest.raises(grpc.RpcError) as raised:
        caller.infer(request)
    assert raised.value.code().name == "RESOURCE_EXHAUSTED"
    assert caller.infer(_double()).model_name == "double"


def test_a_client_that_cancels_cancels_its_request(caller: Caller, server: Served) -> None:
    cancelled = server.runtime.cancelled
    call = caller.channel.unary_unary(
        _SERVICE + "ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    ).future(_slow(), timeout=TIMEOUT_S)
    server.wait_until(lambda: server.runtime.slow_running == 1)
    call.cancel()
    server.wait_until(lambda: server.runtime.slow_running == 0)
    assert server.runtime.cancelled == cancelled + 1


def test_an_expired_deadline_cancels_the_request(caller: Caller, server: Served) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        caller.infer(_slow(), timeout=0.2)
    assert raised.value.code().name == "DEADLINE_EXCEEDED"
    server.wait_until(lambda: server.runtime.slow_running == 0)


def test_a_stream_answers_each_request_in_order(caller: Caller, server: Served) -> None:
    stream = caller.channel.stream_stream(
        _SERVICE + "ModelStreamInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    requests = [_double(id="1"), pb.ModelInferRequest(model_name="none", id="2"), _double(id="3")]
    answers = list(stream(iter(requests), timeout=TIMEOUT_S))
    assert [answer.infer_response.id for answer in answers] == ["1", "2", "3"]
    assert "unknown model" in answers[1].error_message
    assert not answers[0].error_message


def test_a_cancelled_stream_leaves_nothing_behind(caller: Caller, server: Served) -> None:
    stream = caller.channel.stream_stream(
        _SERVICE + "ModelStreamInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    call = stream(iter([_slow(), _slow()]), timeout=TIMEOUT_S)
    server.wait_until(lambda: server.runtime.slow_running == 2)
    call.cancel()
    server.wait_until(lambda: server.runtime.slow_running == 0)


def test_health_for_probes(caller: Caller) -> None:
    path = "/grpc.health.v1.Health/Check"
    for service in ("", "inference.GRPCInferenceService"):
        answer = caller(
            path, health.HealthCheckRequest(service=service), health.HealthCheckResponse
        )
        assert answer.status == health.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as raised:
        caller(path, health.HealthCheckRequest(service="x"), health.HealthCheckResponse)
    assert raised.value.code().name == "NOT_FOUND"
    watch = caller.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health.HealthCheckRequest.SerializeToString,
        response_deserializer=health.HealthCheckResponse.FromString,
    )(health.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert next(watch).status == health.HealthCheckResponse.SERVING
    watch.cancel()


def test_a_trace_comes_back(caller: Caller) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    call = caller.channel.unary_unary(
        _SERVICE + "ServerLive",
        request_serializer=pb.ServerLiveRequest.SerializeToString,
        response_deserializer=pb.ServerLiveResponse.FromString,
    )
    _, done = call.with_call(
        pb.ServerLiveRequest(), metadata=[("traceparent", trace)], timeout=TIMEOUT_S
    )
    assert ("traceparent", trace) in [tuple(pair) for pair in done.trailing_metadata()]
