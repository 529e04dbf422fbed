"""Well-formed REST requests, as bytes on the wire."""

import gzip
import zlib

import numpy as np
import orjson
import pytest

from cotenant.core.errors import ExecutionError, LaneLost, QueueFull
from cotenant.runtime.base import State
from tests.serving.served import Served, Wire


def _double(values: list[float], **more: object) -> bytes:
    x = {"name": "x", "datatype": "FP32", "shape": [len(values) // 4, 4], "data": values}
    return orjson.dumps({"inputs": [x], **more})


def test_server_and_health(wire: Wire) -> None:
    metadata = wire.ask("GET", "/v2").json
    assert metadata["name"] == "cotenant"
    assert {"statistics", "binary_tensor_data"} <= set(metadata["extensions"])
    assert wire.ask("GET", "/v2/health/live").json == {"live": True}
    assert wire.ask("GET", "/v2/health/ready").json == {"ready": True}
    assert wire.ask("GET", "/v2/models/double/versions/1/ready").json["ready"] is True


def test_metadata_and_config_tell_the_same_shapes(wire: Wire) -> None:
    metadata = wire.ask("GET", "/v2/models/double").json
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    config = wire.ask("GET", "/v2/models/double/versions/1/config").json
    # The batch axis is not part of the configured dims.
    assert config["max_batch_size"] == 4
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}]
    assert config["dynamic_batching"]["priority_levels"] == 3
    strings = wire.ask("GET", "/v2/models/echo-object/config").json
    assert (strings["max_batch_size"], strings["input"][0]["data_type"]) == (0, "TYPE_STRING")


def test_json_inference(wire: Wire, server: Served) -> None:
    reply = wire.ask("POST", "/v2/models/double/infer", _double([1, 2, 3, 4] * 2, id="seven"))
    assert reply.status == 200
    assert reply.json == {
        "model_name": "double",
        "model_version": "1",
        "id": "seven",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 4], "data": [2, 4, 6, 8, 2, 4, 6, 8]}
        ],
    }
    assert server.runtime.asked[-1]["rows"] == 2


def test_binary_both_ways(wire: Wire) -> None:
    array = np.arange(8, dtype="<f4").reshape(2, 4)
    head = orjson.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [2, 4],
                    "parameters": {"binary_data_size": array.nbytes},
                }
            ],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    )
    length = {"Inference-Header-Content-Length": str(len(head))}
    reply = wire.ask("POST", "/v2/models/double/infer", head + array.tobytes(), length)
    split = int(reply.headers["inference-header-content-length"])
    assert orjson.loads(reply.body[:split])["outputs"][0]["parameters"] == {"binary_data_size": 32}
    assert reply.body[split:] == (array * 2).tobytes()


def test_a_large_answer_arrives_whole(wire: Wire) -> None:
    array = np.random.default_rng(1).random((1, 3, 224, 224)).astype("<f4")
    raw = {"Inference-Header-Content-Length": "0"}
    reply = wire.ask("POST", "/v2/models/image/infer", array.tobytes(), raw)
    split = int(reply.headers["inference-header-content-length"])
    assert reply.body[split:] == array.tobytes()


@pytest.mark.parametrize(
    ("model", "body", "answer"),
    [
        ("double", np.ones(8, "<f4").tobytes(), np.full(8, 2, "<f4").tobytes()),
        ("slow", b"\x05", b"\x05"),
        ("echo-object", "grüß".encode(), b"\x06\x00\x00\x00" + "grüß".encode()),
    ],
)
def test_a_raw_body_is_the_only_input(
    wire: Wire, server: Served, model: str, body: bytes, answer: bytes
) -> None:
    server.call(server.runtime.release.set)
    raw = {"Inference-Header-Content-Length": "0"}
    reply = wire.ask("POST", f"/v2/models/{model}/infer", body, raw)
    split = int(reply.headers["inference-header-content-length"])
    assert reply.body[split:] == answer


def test_outputs_are_chosen_by_name(wire: Wire) -> None:
    inputs = [
        {"name": "b", "datatype": "INT64", "shape": [2], "data": [1, 2]},
        {"name": "a", "datatype": "FP32", "shape": [2], "data": [0.5, 1.5]},
    ]
    body = orjson.dumps({"inputs": inputs, "outputs": [{"name": "difference"}]})
    reply = wire.ask("POST", "/v2/models/pair/infer", body)
    assert [(one["name"], one["data"]) for one in reply.json["outputs"]] == [
        ("difference", [-0.5, -0.5])
    ]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed_bodies(wire: Wire, encoding: str) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    reply = wire.ask(
        "POST", "/v2/models/double/infer", pack(_double([1] * 4)), {"content-encoding": encoding}
    )
    assert reply.json["outputs"][0]["data"] == [2] * 4


def test_promises_reach_the_machine(wire: Wire, server: Served) -> None:
    parameters = {"priority": 2, "timeout": 250_000, "deadline_us": 1_000_000}
    assert wire.ask(
        "POST", "/v2/models/double/infer", _double([1] * 4, parameters=parameters)
    ).status == 200  # fmt: skip
    asked = server.runtime.asked[-1]
    assert (asked["level"], asked["timeout_s"], asked["deadline_s"]) == (2, 0.25, 1.0)
    # 0 is the model's default, for each of them.
    wire.ask("POST", "/v2/models/double/infer", _double([1] * 4, parameters={"timeout": 0}))
    asked = server.runtime.asked[-1]
    assert (asked["level"], asked["timeout_s"], asked["deadline_s"]) == (0, None, None)


@pytest.mark.parametrize(
    ("error", "status", "phrase"),
    [
        (QueueFull("64 wait"), 503, "Exceeds maximum queue size"),
        (ExecutionError("a node failed"), 500, "a node failed"),
        (LaneLost("it died"), 500, "it died"),
    ],
)
def test_the_machines_errors(
    wire: Wire, server: Served, error: Exception, status: int, phrase: str
) -> None:
    server.runtime.fail_with = error  # type: ignore[assignment]
    reply = wire.ask("POST", "/v2/models/double/infer", _double([1] * 4))
    assert (reply.status, phrase in reply.error) == (status, True)


def test_statistics_count_requests(wire: Wire, server: Served) -> None:
    def statistics() -> dict[str, dict[str, int]]:
        (stats,) = wire.ask("GET", "/v2/models/pair/stats").json["model_stats"]
        counts: dict[str, dict[str, int]] = stats["inference_stats"]
        return counts

    inputs = [
        {"name": "b", "datatype": "INT64", "shape": [2], "data": [1, 2]},
        {"name": "a", "datatype": "FP32", "shape": [2], "data": [0.5, 1.5]},
    ]
    before = statistics()
    wire.ask("POST", "/v2/models/pair/infer", orjson.dumps({"inputs": inputs}))
    server.runtime.fail_with = ExecutionError("no")
    wire.ask("POST", "/v2/models/pair/infer", orjson.dumps({"inputs": inputs}))
    after = statistics()
    for part in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        assert after[part]["count"] == before[part]["count"] + 1
    # perf_analyzer reads them without asking whether they are there.
    assert after["cache_hit"] == after["cache_miss"] == {"count": 0, "ns": 0}
    everything = wire.ask("GET", "/v2/models/stats").json["model_stats"]
    assert {stats["name"] for stats in everything} == set(server.runtime.served)


def test_lanes(wire: Wire) -> None:
    lanes = wire.ask("GET", "/v2/cotenant/lanes").json
    assert lanes["policy"] == "fake"
    (pair,) = [lane for lane in lanes["lanes"] if lane["task"] == "pair"]
    assert pair == {
        "task": "pair",
        "criticality": "critical",
        "state": "ready",
        "reason": "",
        "pid": 4711,
        "restarts": 3,
        "queued": 7,
        "slowdown": 1.02,
        "component": "cpu",
    }


def test_a_restarting_lane_and_readiness(wire: Wire, server: Served) -> None:
    server.runtime.become("double", State.RESTARTING)
    try:
        assert wire.ask("GET", "/v2/models/double/ready").status == 503
        assert wire.ask("GET", "/v2/health/ready").status == 200
        server.runtime.become("pair", State.RESTARTING)
        reply = wire.ask("GET", "/v2/health/ready")
        assert (reply.status, reply.json) == (503, {"ready": False})
    finally:
        server.runtime.become("double", State.READY)
        server.runtime.become("pair", State.READY)


def test_index_and_control_that_is_off(wire: Wire, server: Served) -> None:
    index = wire.ask("POST", "/v2/repository/index", b'{"ready": true}').json
    assert {"name": "pair", "version": "1", "state": "READY", "reason": ""} in index
    for verb in ("load", "unload"):
        reply = wire.ask("POST", f"/v2/repository/models/pair/{verb}", b"{}")
        assert (reply.status, "--model-control-mode explicit" in reply.error) == (501, True)


def test_trace_and_date_come_back(wire: Wire) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    reply = wire.ask("GET", "/v2", headers={"traceparent": trace})
    assert reply.headers["traceparent"] == trace
    assert reply.headers["date"].endswith("gmt")


def test_head_has_the_head_alone(wire: Wire) -> None:
    reply = wire.ask("HEAD", "/v2/health/ready")
    assert (reply.status, int(reply.headers["content-length"]) > 0) == (200, True)
    assert wire.ask("GET", "/v2/health/ready").json == {"ready": True}
