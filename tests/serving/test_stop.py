"""The end of a server: what runs is answered, what comes late is told, nothing is lost."""

import asyncio
import threading

import grpc

from cotenant.serving.protocol import inference_pb2 as pb
from tests.serving.served import TIMEOUT_S, Reply, Wire, served

_SLOW = b'{"inputs":[{"name":"x","datatype":"UINT8","shape":[1],"data":[9]}]}'
_PATH = "/v2/models/slow/infer"


def _ask_slowly(port: int, replies: list[Reply]) -> threading.Thread:
    def ask() -> None:
        with Wire(port) as wire:
            replies.append(wire.ask("POST", _PATH, _SLOW))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_what_runs_is_answered_and_what_comes_late_is_told() -> None:
    replies: list[Reply] = []
    with served(exit_timeout_s=TIMEOUT_S) as one, Wire(one.ports.http) as late:
        # A connection that stays open over the start of the drain.
        assert late.ask("GET", "/v2/health/ready").status == 200
        thread = _ask_slowly(one.ports.http, replies)
        one.wait_until(lambda: one.runtime.slow_running == 1)
        stopping = asyncio.run_coroutine_threadsafe(one.server.plane.drain(TIMEOUT_S), one.loop)
        one.wait_until(lambda: not one.server.plane.ready())
        assert late.ask("GET", "/v2/health/ready").status == 503
        assert late.ask("GET", "/v2/health/live").status == 200
        assert late.ask("POST", _PATH, _SLOW).status == 503
        assert not replies
        one.call(one.runtime.release.set)
        assert stopping.result(TIMEOUT_S) is True
        thread.join(TIMEOUT_S)
    assert [reply.status for reply in replies] == [200]
    assert one.runtime.closed


def test_what_outlasts_the_exit_timeout_is_told_so() -> None:
    replies: list[Reply] = []
    with served(exit_timeout_s=0.05) as one:
        thread = _ask_slowly(one.ports.http, replies)
        channel = grpc.insecure_channel(f"127.0.0.1:{one.ports.grpc}")
        request = pb.ModelInferRequest(model_name="slow", raw_input_contents=[b"\1"])
        request.inputs.add(name="x", datatype="UINT8", shape=[1])
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        ).future(request, timeout=TIMEOUT_S)
        one.wait_until(lambda: one.runtime.slow_running == 2)
        assert one.run(one.server.stop()) is False
        thread.join(TIMEOUT_S)
        (reply,) = replies
        assert (reply.status, "shut down" in reply.error) == (503, True)
        assert call.exception(TIMEOUT_S).code().name == "UNAVAILABLE"
        channel.close()
