"""The suite `overhead`: its models are valid, its figures follow from its records."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import pytest
from click.testing import CliRunner

from cotenant.bench.clients import InProcess, RestClient
from cotenant.bench.overhead import build_models, write_report
from cotenant.bench.servers import HOST, Server
from cotenant.cli.bench import bench
from cotenant.core.errors import ExecutionError


def test_the_models_run_and_their_inputs_have_the_promised_sizes(tmp_path: Path) -> None:
    sizes = {}
    for name, path in build_models(tmp_path).items():
        shape = onnxruntime.InferenceSession(str(path)).get_inputs()[0].shape
        tensor = np.ones(shape, np.float32)
        InProcess(path, tensor).call()
        sizes[name] = tensor.nbytes
    assert sizes == {"tiny": 64, "frame": 602112}


def test_overhead_is_the_difference_of_medians(tmp_path: Path) -> None:
    header = {
        "kind": "header",
        "suite": "overhead",
        "machine": {"processor": "P", "cores": 2, "system": "S"},
        "versions": {"cotenant": "0"},
        "seed": 1,
        "rounds": 2,
        "calls": 3,
    }
    durations_ms = {"in-process": (0.1, 0.2, 0.3), "rest": (0.5, 0.6, 0.7), "grpc": (0.9, 1, 1.1)}
    lines = [
        {
            "kind": "calls",
            "round": number,
            "protocol": protocol,
            "model": "tiny",
            "durations_s": [one * 1e-3 for one in each],
        }
        for number in range(2)
        for protocol, each in durations_ms.items()
    ]
    content = b"\n".join(map(orjson.dumps, [header, *lines]))
    (tmp_path / "records.jsonl").write_bytes(content)
    bars = {bar.protocol: bar for bar in write_report(tmp_path)}
    assert bars["rest"].value_s == pytest.approx(0.4e-3)
    assert bars["rest"].met
    assert bars["grpc"].value_s == pytest.approx(0.8e-3)
    assert not bars["grpc"].met
    summary = orjson.loads((tmp_path / "summary.json").read_bytes())
    assert set(summary) == {"suite", "machine", "versions", "seed", "cases"}
    for case in summary["cases"]:
        assert set(case) == {"protocol", "payload_bytes", "overhead_p50_s"}
        assert case["payload_bytes"] == 64
        interval = case["overhead_p50_s"]
        assert interval["low"] <= interval["value"] <= interval["high"]
    first = (tmp_path / "report.md").read_bytes()
    result = CliRunner().invoke(bench, ["report", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report.md").read_bytes() == first


def test_the_rest_client_reads_whole_answers_and_reports_refusals(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    client = RestClient(HOST, server.port, "a", np.ones((1, 16), np.float32))
    for _ in range(3):  # an answer that was not read to its end would be taken for the next
        client.call()
    client.close()
    wrong = RestClient(HOST, server.port, "a", np.ones((1, 17), np.float32))
    with pytest.raises(ExecutionError, match="400"):
        wrong.call()
    wrong.close()
