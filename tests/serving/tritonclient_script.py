"""Drives a server through tritonclient; run in an interpreter of its own, with the two ports.

Our messages and tritonclient's cannot be loaded into one interpreter. The server must have a
model 'double' (FP32, n x 4) that doubles its input; 'strings' among the arguments says that it
has 'echo-object' too.
"""

import asyncio
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

X = np.arange(8, dtype=np.float32).reshape(2, 4)


def _inputs(module: Any, **options: Any) -> list[Any]:
    tensor = module.InferInput("x", list(X.shape), "FP32")
    tensor.set_data_from_numpy(X, **options)
    return [tensor]


def _check(result: Any) -> None:
    np.testing.assert_array_equal(result.as_numpy("y"), X * 2)


def _refused(call: Any) -> str:
    try:
        call()
    except InferenceServerException as error:
        return str(error)
    raise AssertionError("this should have been refused")


def http(port: int, strings: bool) -> None:
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("double")
    assert client.get_server_metadata()["name"] == "cotenant"
    assert client.get_model_metadata("double")["inputs"][0]["shape"] == [-1, 4]
    config = client.get_model_config("double")
    assert config["name"] == "double"
    before = client.get_inference_statistics("double")["model_stats"][0]
    for binary_in in (True, False):
        for binary_out in (True, False):
            outputs = [tritonclient.http.InferRequestedOutput("y", binary_data=binary_out)]
            inputs = _inputs(tritonclient.http, binary_data=binary_in)
            _check(client.infer("double", inputs, outputs=outputs, request_id="7"))
    for packed in ("gzip", "deflate"):
        inputs = _inputs(tritonclient.http)
        _check(
            client.infer(
                "double",
                inputs,
                request_compression_algorithm=packed,
                response_compression_algorithm=packed,
            )
        )
    inputs = _inputs(tritonclient.http)
    _check(client.infer("double", inputs, priority=1, timeout=1_000_000))
    _check(client.async_infer("double", inputs).get_result())
    after = client.get_inference_statistics("double")["model_stats"][0]
    # A model that does not batch has requests of one inference each, whatever their shape.
    rows = len(X) if config.get("max_batch_size") else 1
    assert after["inference_count"] == before["inference_count"] + 8 * rows, (before, after)
    assert after["execution_count"] == before["execution_count"] + 8, (before, after)
    assert "Request for unknown model" in _refused(lambda: client.infer("none", inputs))
    assert "explicit" in _refused(lambda: client.load_model("double"))
    assert any(model["name"] == "double" for model in client.get_model_repository_index())
    if strings:
        words = np.array([["grün", ""]], dtype=object)
        for binary in (True, False):
            tensor = tritonclient.http.InferInput("x", [1, 2], "BYTES")
            tensor.set_data_from_numpy(words, binary_data=binary)
            outputs = [tritonclient.http.InferRequestedOutput("y", binary_data=binary)]
            answer = client.infer("echo-object", [tensor], outputs=outputs).as_numpy("y")
            decoded = [one.decode() if isinstance(one, bytes) else one for one in answer.ravel()]
            assert decoded == ["grün", ""], decoded
    client.close()


def grpc(port: int) -> None:
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("double")
    assert "statistics" in client.get_server_metadata().extensions
    assert list(client.get_model_metadata("double").inputs[0].shape) == [-1, 4]
    assert client.get_model_config("double").config.name == "double"
    inputs = _inputs(tritonclient.grpc)
    result = client.infer("double", inputs, request_id="7", priority=1, timeout=1_000_000)
    _check(result)
    assert result.get_response().id == "7"
    _check(client.infer("double", inputs, client_timeout=5.0, compression_algorithm="gzip"))
    assert client.get_inference_statistics("double").model_stats[0].inference_count >= 2
    assert "Request for unknown model" in _refused(lambda: client.infer("none", inputs))
    assert any(model.name == "double" for model in client.get_model_repository_index().models)
    answers: queue.Queue[Any] = queue.Queue()
    client.async_infer("double", inputs, lambda result, error: answers.put((result, error)))
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(3):
        client.async_stream_infer("double", inputs, request_id=str(number))
    for _ in range(4):
        result, error = answers.get(timeout=10)
        assert error is None, error
        _check(result)
    client.stop_stream()
    client.close()


async def both_async(http_port: int, grpc_port: int) -> None:
    for module, port in ((tritonclient.http, http_port), (tritonclient.grpc, grpc_port)):
        client = module.aio.InferenceServerClient(f"127.0.0.1:{port}")
        assert await client.is_server_ready()
        calls = [client.infer("double", _inputs(module)) for _ in range(8)]
        for result in await asyncio.gather(*calls):
            _check(result)
        await client.close()


if __name__ == "__main__":
    http_port, grpc_port = int(sys.argv[1]), int(sys.argv[2])
    http(http_port, strings="strings" in sys.argv)
    grpc(grpc_port)
    asyncio.run(both_async(http_port, grpc_port))
