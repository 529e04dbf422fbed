"""Requests as bytes: what the load generator and the clients put on the wire, read by others."""

import subprocess
import sys

import httptools
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.bench.clients import infer_message
from cotenant.bench.inputs import NUMPY_TYPES, fixed_shape, request_bytes
from cotenant.core.errors import Unsupported


class Received:
    def __init__(self, request: bytes) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.url = b""
        self.complete = 0
        httptools.HttpRequestParser(self).feed_data(request)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


tensors = st.lists(
    st.tuples(
        st.sampled_from(sorted(NUMPY_TYPES)),
        st.lists(st.sampled_from([-1, 1, 2, 3, 5]), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=3,
)


@given(tensors, st.integers(0, 2**32))
def test_a_request_says_what_it_carries(inputs: list[tuple[str, list[int]]], seed: int) -> None:
    metadata = {
        "name": "m",
        "inputs": [
            {"name": f"x{place}", "datatype": datatype, "shape": shape}
            for place, (datatype, shape) in enumerate(inputs)
        ],
    }
    request = request_bytes(metadata, "h:1", np.random.default_rng(seed))
    received = Received(request)
    assert received.complete == 1
    assert received.url == b"/v2/models/m/infer"
    length = int(received.headers["inference-header-content-length"])
    header = orjson.loads(received.body[:length])
    assert header["parameters"]["binary_data_output"] is True
    rest = received.body[length:]
    for (datatype, shape), described in zip(inputs, header["inputs"], strict=True):
        size = described["parameters"]["binary_data_size"]
        array = np.frombuffer(rest[:size], NUMPY_TYPES[datatype]).reshape(described["shape"])
        assert described["shape"] == list(fixed_shape(shape))
        assert np.isfinite(array.astype(np.float64)).all()
        rest = rest[size:]
    assert rest == b""
    assert request == request_bytes(metadata, "h:1", np.random.default_rng(seed))


def test_strings_are_refused_with_the_remedy() -> None:
    metadata = {"name": "m", "inputs": [{"name": "x", "datatype": "BYTES", "shape": [1]}]}
    with pytest.raises(Unsupported, match=r"BYTES.*it makes BOOL"):
        request_bytes(metadata, "h", np.random.default_rng(0))


def test_a_grpc_message_is_read_by_a_real_client_library() -> None:
    # In an interpreter of its own: two copies of the service's descriptors cannot share one.
    tensor = np.arange(300, dtype=np.float32).reshape(1, 300)
    message = infer_message("tiny", "x", "FP32", tensor)
    script = (
        "import sys\n"
        "from tritonclient.grpc.service_pb2 import ModelInferRequest\n"
        "request = ModelInferRequest.FromString(sys.stdin.buffer.read())\n"
        "assert request.SerializeToString(deterministic=True)\n"
        "one = request.inputs[0]\n"
        "print(request.model_name, one.name, one.datatype, list(one.shape))\n"
        "sys.stdout.flush(); sys.stdout.buffer.write(request.raw_input_contents[0])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        input=message,
        capture_output=True,
        check=True,
        timeout=60,
    )
    first, raw = ended.stdout.split(b"\n", 1)
    assert first == b"tiny x FP32 [1, 300]"
    assert raw == tensor.tobytes()
