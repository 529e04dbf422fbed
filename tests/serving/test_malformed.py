"""Requests that are wrong, byte by byte: each gets a clear error, and nothing else suffers."""

import gzip
import struct
from typing import Any

import numpy as np
import orjson
import pytest

from tests.serving.served import Served, Wire

INFER = "/v2/models/double/infer"
GOOD = orjson.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
)


def _body(**changes: Any) -> bytes:
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4], **changes}
    return orjson.dumps({"inputs": [{key: value for key, value in x.items() if value != "gone"}]})


def _still_usable(wire: Wire) -> None:
    assert wire.ask("POST", INFER, GOOD).json["outputs"][0]["data"] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not valid JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b"\xff\xfe", "not valid JSON"),
        (b"{}", "missing input 'x'"),
        (b'{"inputs": 3}', "not a list"),
        (b'{"inputs": [3]}', "not a list of objects"),
        (b"[" * 100_000, "not valid JSON"),
        (_body(data=[1, 2, 3, float("nan")]).replace(b"null", b"NaN"), "not valid JSON"),
        (_body(data=[1, 2, 3, None]), "no FP32"),
        (_body(data="AAAA"), "neither a list"),
        (_body(data=[1, 2, 3]), "takes 4"),
        (_body(data=[[1, 2], [3, 4]]), "[2, 2]"),
        (_body(data=[[1, 2, 3], [4]]), "unequal"),
        (_body(data=[1, 2, 3, 1e300]), "range of FP32"),
        (_body(data=["1", "2", "3", "4"]), "no FP32"),
        (_body(name="z"), "unexpected input 'z'"),
        (_body(name=7), "no string 'name'"),
        (_body(datatype="FP64"), "is FP32; FP64"),
        (_body(datatype="gone"), "no string 'datatype'"),
        (_body(shape="gone"), "'shape'"),
        (_body(shape=[1, 4.0]), "'shape'"),
        (_body(shape=[True, 4]), "'shape'"),
        (_body(shape=[4]), "[4] was sent"),
        (_body(shape=[1, 5], data=[1] * 5), "[1, 5] was sent"),
        (_body(shape=[-1, 4]), "[-1, 4] was sent"),
        (_body(shape=[0, 4], data=[]), "0 rows"),
        (_body(shape=[5, 4], data=[0] * 20), "5 rows"),
        (_body(parameters=[]), "'parameters' is not an object"),
        (_body(parameters={"binary_data_size": 16}), "both"),
        (_body(data="gone", parameters={"binary_data_size": 16}), "0 bytes are left"),
        (_body(data="gone", parameters={"binary_data_size": -1}), "binary_data_size -1"),
        (orjson.dumps({"inputs": orjson.loads(GOOD)["inputs"] * 2}), "given twice"),
        (GOOD[:-1] + b', "outputs": [{"name": "z"}]}', "unexpected output 'z'"),
        (GOOD[:-1] + b', "outputs": [{"name": "y"}, {"name": "y"}]}', "asked for twice"),
        (GOOD[:-1] + b', "id": 7}', "'id'"),
    ],
)
def test_a_wrong_body_is_explained(wire: Wire, server: Served, body: bytes, says: str) -> None:
    reply = wire.ask("POST", INFER, body)
    assert (reply.status, says in reply.error) == (400, True), reply.error
    assert server.runtime.asked == []
    _still_usable(wire)


@pytest.mark.parametrize("shape", [[2**62, 4], [2**40, 4], [10**30, 4]])
def test_shapes_whose_product_overflows(wire: Wire, shape: list[int]) -> None:
    body = GOOD.replace(b"[1,4]", str(shape).encode())
    reply = wire.ask("POST", INFER, body)
    assert (reply.status in (400, 413), bool(reply.error)) == (True, True)
    _still_usable(wire)


@pytest.mark.parametrize("shape", [[0, 2**62], [2**62, 0], [2**31, 2**33]])
def test_empty_shapes_whose_other_axes_overflow(wire: Wire, shape: list[int]) -> None:
    x = {"name": "x", "datatype": "FP64", "shape": shape, "data": []}
    reply = wire.ask("POST", "/v2/models/echo-float64/infer", orjson.dumps({"inputs": [x]}))
    assert (reply.status, "over the limit" in reply.error) == (413, True)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("timeout", -1, "0 or more"),
        ("timeout", 2**63, "at most 86400 s"),
        ("timeout", 10**30, "not valid JSON"),
        ("timeout", 1.5, "0 or more"),
        ("timeout", "1", "0 or more"),
        ("timeout", True, "0 or more"),
        ("deadline_us", -5, "0 or more"),
        ("deadline_us", 10**14, "at most"),
        ("priority", -1, "0 or more"),
        ("priority", 4, "levels 1 (first) to 3"),
        ("binary_data_output", "yes", "true or false"),
    ],
)
def test_absurd_parameters(wire: Wire, name: str, value: Any, says: str) -> None:
    written = str(value) if isinstance(value, int) and value > 2**64 else orjson.dumps(value)
    if isinstance(written, bytes):
        written = written.decode()
    body = GOOD[:-1] + f', "parameters": {{"{name}": {written}}}}}'.encode()
    reply = wire.ask("POST", INFER, body)
    assert (reply.status, bool(reply.error)) == (400, True)
    assert says in reply.error or value == 10**30
    _still_usable(wire)


@pytest.mark.parametrize("extension", ["shared_memory_region", "classification"])
def test_extensions_that_we_do_not_have(wire: Wire, extension: str) -> None:
    reply = wire.ask("POST", INFER, _body(parameters={extension: "r"}))
    assert (reply.status, extension in reply.error) == (501, True)


def _binary(head: bytes, tail: bytes, length: str | None = None) -> tuple[bytes, dict[str, str]]:
    given = str(len(head)) if length is None else length
    return head + tail, {"Inference-Header-Content-Length": given}


_HEAD = _body(data="gone", parameters={"binary_data_size": 16})


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        (*_binary(_HEAD, b"\0" * 15), "15 bytes are left"),
        (*_binary(_HEAD, b"\0" * 17), "1 bytes stand behind"),
        (*_binary(_HEAD, b"\0" * 16, "99999"), "Inference-Header-Content-Length"),
        (*_binary(_HEAD, b"\0" * 16, "-3"), "Inference-Header-Content-Length"),
        (*_binary(_HEAD, b"\0" * 16, "5"), "not valid JSON"),
        (*_binary(_HEAD, b"\0" * 16, "one"), "Inference-Header-Content-Length"),
        (*_binary(_HEAD.replace(b":16}", b":8}"), b"\0" * 8), "takes 16"),
        (*_binary(b"", b"\0" * 15), "15 bytes"),
    ],
)
def test_lying_binary_lengths(
    wire: Wire, server: Served, body: bytes, headers: dict[str, str], says: str
) -> None:
    reply = wire.ask("POST", INFER, body, headers)
    assert (reply.status, says in reply.error) == (400, True), reply.error
    assert server.runtime.asked == []
    _still_usable(wire)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (struct.pack("<I", 4) + b"abc", "ends inside"),
        (struct.pack("<I", 2**32 - 1) + b"abc", "ends inside"),
        (b"\1\0", "ends after 0 of 1"),
        (struct.pack("<I", 1) + b"ab", "1 bytes behind"),
        (struct.pack("<I", 2) + b"\xff\xfe", "no UTF-8"),
    ],
)
def test_malformed_strings(wire: Wire, raw: bytes, says: str) -> None:
    entry = {"name": "x", "datatype": "BYTES", "shape": [1, 1]}
    entry["parameters"] = {"binary_data_size": len(raw)}
    body, headers = _binary(orjson.dumps({"inputs": [entry]}), raw)
    reply = wire.ask("POST", "/v2/models/echo-object/infer", body, headers)
    assert (reply.status, says in reply.error) == (400, True), reply.error


def test_a_bool_is_0_or_1(wire: Wire) -> None:
    entry = {"name": "x", "datatype": "BOOL", "shape": [1, 2]}
    entry["parameters"] = {"binary_data_size": 2}
    body, headers = _binary(orjson.dumps({"inputs": [entry]}), b"\1\2")
    reply = wire.ask("POST", "/v2/models/echo-bool/infer", body, headers)
    assert (reply.status, "other than 0 and 1" in reply.error) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/", 404, "there is no '/'"),
        ("GET", "/v2/nothing", 404, "GET /v2"),
        ("GET", "/v3/models/double", 404, "there is no"),
        ("POST", "/v2/models/none/infer", 404, "Request for unknown model: 'none'"),
        ("GET", "/v2/models/none", 404, "Request for unknown model: 'none'"),
        ("GET", "/v2/models/none/ready", 404, "Request for unknown model: 'none'"),
        ("GET", "/v2/models/double/versions/2", 404, "version '2' is not found"),
        ("GET", "/v2/models/%ff", 400, "no UTF-8"),
        ("GET", INFER, 405, "takes POST"),
        ("DELETE", "/v2", 405, "takes GET"),
    ],
)
def test_wrong_routes(wire: Wire, method: str, path: str, status: int, says: str) -> None:
    reply = wire.ask(method, path)
    assert (reply.status, says in reply.error) == (status, True), reply.error
    _still_usable(wire)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET /v2 HTTP/9.9\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\ncontent-length: -4\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_bytes_that_are_no_http(wire: Wire, garbage: bytes) -> None:
    wire.send(garbage)
    reply = wire.reply()
    assert (reply.status, "malformed HTTP" in reply.error) == (400, True)
    assert reply.headers["connection"] == "close"
    assert wire.ended()


def test_an_endless_head_is_refused(wire: Wire) -> None:
    wire.send(b"GET /v2 HTTP/1.1\r\n")
    for _ in range(40):
        wire.send(b"x: " + b"y" * 4000 + b"\r\n")
    reply = wire.reply()
    assert (reply.status, "head is over" in reply.error) == (431, True)


def test_an_oversized_body_is_refused_before_it_is_read(wire: Wire) -> None:
    wire.send(b"POST /v2/models/double/infer HTTP/1.1\r\ncontent-length: 1048577\r\n\r\n")
    reply = wire.reply()
    assert (reply.status, "--max-body-size" in reply.error) == (413, True)
    assert wire.ended()


def test_an_oversized_chunked_body_is_refused(wire: Wire) -> None:
    wire.send(b"POST /v2/models/double/infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(17):
        wire.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    reply = wire.reply()
    assert (reply.status, "--max-body-size" in reply.error) == (413, True)


@pytest.mark.parametrize(
    ("body", "encoding", "status", "says"),
    [
        (gzip.compress(b" " * (2 << 20), mtime=0), "gzip", 413, "unpacked"),
        (gzip.compress(GOOD, mtime=0)[:-9], "gzip", 400, "truncated"),
        (gzip.compress(GOOD, mtime=0) + b"more", "gzip", 400, "behind its end"),
        (b"not gzip", "gzip", 400, "not valid gzip"),
        (GOOD, "br", 501, "'br' is not supported"),
    ],
)
def test_packed_bodies_that_lie(
    wire: Wire, body: bytes, encoding: str, status: int, says: str
) -> None:
    reply = wire.ask("POST", INFER, body, {"content-encoding": encoding})
    assert (reply.status, says in reply.error) == (status, True), reply.error
    _still_usable(wire)


def test_chunked_bodies_and_expect_are_understood(wire: Wire) -> None:
    head = b"POST /v2/models/double/infer HTTP/1.1\r\n"
    wire.send(head + b"transfer-encoding: chunked\r\n\r\n")
    for start in range(0, len(GOOD), 10):
        piece = GOOD[start : start + 10]
        wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    wire.send(b"0\r\n\r\n")
    assert wire.reply().status == 200
    wire.send(head + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(GOOD))
    assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(GOOD)
    assert wire.reply().status == 200


def test_pipelined_requests_are_answered_in_order(wire: Wire, server: Served) -> None:
    slow = b'{"inputs":[{"name":"x","datatype":"UINT8","shape":[1],"data":[9]}]}'
    first = b"POST /v2/models/slow/infer HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(slow)
    bad = b"POST %b HTTP/1.1\r\ncontent-length: 1\r\n\r\n{" % INFER.encode()
    good = b"POST %b HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (INFER.encode(), len(GOOD))
    wire.send(first + slow + bad + good + GOOD)
    server.wait_until(lambda: server.runtime.slow_running == 1)
    server.call(server.runtime.release.set)
    assert [wire.reply().status for _ in range(3)] == [200, 400, 200]
    _still_usable(wire)


def test_an_upgrade_is_passed_over(wire: Wire) -> None:
    headers = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c"}
    assert wire.ask("GET", "/v2/health/live", headers=headers).json == {"live": True}
    _still_usable(wire)


def test_a_request_may_close_its_connection(wire: Wire) -> None:
    reply = wire.ask("GET", "/v2", headers={"connection": "close"})
    assert (reply.status, reply.headers["connection"], wire.ended()) == (200, "close", True)


def test_a_client_that_goes_away_cancels_its_request(server: Served) -> None:
    cancelled = server.runtime.cancelled
    with Wire(server.ports.http) as wire:
        slow = b'{"inputs":[{"name":"x","datatype":"UINT8","shape":[1],"data":[9]}]}'
        wire.send(
            b"POST /v2/models/slow/infer HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(slow) + slow
        )
        server.wait_until(lambda: server.runtime.slow_running == 1)
    server.wait_until(lambda: server.runtime.slow_running == 0)
    assert server.runtime.cancelled == cancelled + 1


def test_a_half_sent_request_leaves_nothing_behind(server: Served) -> None:
    with Wire(server.ports.http) as wire:
        wire.send(b"POST /v2/models/double/infer HTTP/1.1\r\ncontent-length: 100\r\n\r\n{")
    with Wire(server.ports.http) as wire:
        _still_usable(wire)
    assert len(server.runtime.asked) == 1


def test_special_floats_are_null_in_json_and_whole_in_bytes(wire: Wire) -> None:
    raw = np.array([np.nan, np.inf], "<f4").tobytes()
    entry: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [1, 2]}
    entry["parameters"] = {"binary_data_size": 8}
    for binary in (False, True):
        head = orjson.dumps(
            {"inputs": [entry], "outputs": [{"name": "y", "parameters": {"binary_data": binary}}]}
        )
        body, headers = _binary(head, raw)
        reply = wire.ask("POST", "/v2/models/echo-float32/infer", body, headers)
        if binary:
            assert reply.body.endswith(raw)
        else:
            assert reply.json["outputs"][0]["data"] == [None, None]
