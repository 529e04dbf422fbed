"""However the network cuts a stream of requests, the server understands the same ones."""

import itertools
import threading

import numpy as np
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.served import TIMEOUT_S, Served, Wire

_SMALL = orjson.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
)
_LARGE = np.arange(150_528, dtype="<f4").tobytes()


def _post(model: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /v2/models/%b/infer HTTP/1.1" % model, *headers]
    return b"\r\n".join([*lines, b"content-length: %d" % len(body), b"", body])


_STREAM = b"".join(
    [
        _post(b"double", _SMALL),
        _post(b"image", _LARGE, b"inference-header-content-length: 0"),
        b"GET /v2/health/live HTTP/1.1\r\n\r\n",
        _post(b"image", _LARGE, b"inference-header-content-length: 0"),
        b"POST /v2/models/double/infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n",
        _post(b"double", _SMALL),
    ]
)  # fmt: skip


def _send_in_pieces(wire: Wire, cuts: list[int]) -> None:
    for start, end in itertools.pairwise([0, *sorted(cuts), len(_STREAM)]):
        wire.send(_STREAM[start:end])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, len(_STREAM) - 1), max_size=12))
def test_any_cut_gives_the_same_answers(server: Served, cuts: list[int]) -> None:
    with Wire(server.ports.http) as wire:
        # Sent by another thread: a client that does not read its answers is not read from either.
        sending = threading.Thread(target=_send_in_pieces, args=(wire, cuts))
        sending.start()
        statuses = []
        for _ in range(6):
            reply = wire.reply()
            statuses.append(reply.status)
            if reply.headers["content-type"] == "application/octet-stream":
                split = int(reply.headers["inference-header-content-length"])
                assert reply.body[split:] == _LARGE
        sending.join(TIMEOUT_S)
        assert statuses == [200, 200, 200, 200, 400, 200]
