"""The suite of plain speed, and the table of all that is promised for CUDA."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson
import pytest
from click.testing import CliRunner

from cotenant.bench import cuda_rows
from cotenant.bench.cuda_rows import PARTS, write_rows
from cotenant.bench.speed_report import write_speed_report
from cotenant.bench.torch_graph import TorchGraph
from cotenant.cli.bench import bench
from cotenant.core.errors import Unsupported
from cotenant.graph.zoo import zoo_path

HEADER = {
    "kind": "header",
    "suite": "speed",
    "machine": {"processor": "p", "cores": 2, "system": "s"},
    "versions": {"cotenant": "0"},
    "seed": 1,
    "target": "cuda:sm_90",
    "device": "CUDA: D",
    "driver": "CUDA 13.0",
    "rounds": 3,
    "tuning_rounds": 3,
}


def model(name: str, ratio: float, **more: Any) -> dict[str, Any]:
    rounds = [
        {"ours": ratio * other, "PyTorch float32": other, "PyTorch TF32": other / 2}
        for other in (1e-3, 9e-3, 2e-3)  # a machine that drifts
    ]
    return {"kind": "model", "model": name, "rounds": rounds} | more


def written(folder: Path, *lines: dict[str, Any]) -> dict[str, bool]:
    folder.mkdir(exist_ok=True)
    (folder / "records.jsonl").write_bytes(b"\n".join(map(orjson.dumps, (HEADER, *lines))))
    return {bar.figure: bar.met for bar in write_speed_report(folder)}


def test_ratios_are_within_rounds(tmp_path: Path) -> None:
    failed = {"kind": "model", "model": "c", "failure": "it does not build"}
    bars = written(tmp_path, model("a", 1.9), model("b", 2.1), failed)
    assert bars == {"a: ours / PyTorch float32": True, "b: ours / PyTorch float32": False}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["models"]["a"]["ratio"]["PyTorch TF32"] == pytest.approx(3.8)
    text = (tmp_path / "report.md").read_text()
    assert "| a | " in text
    assert "c: it does not build" in text


def test_where_nothing_else_is_installed_the_report_says_so(tmp_path: Path) -> None:
    alone = {"kind": "model", "model": "a", "rounds": [{"ours": 1e-3}, {"ours": 2e-3}]}
    assert written(tmp_path, alone) == {}
    assert "no other framework was there" in (tmp_path / "report.md").read_text()


def test_the_table_has_what_was_measured_and_names_what_was_not(tmp_path: Path) -> None:
    written(tmp_path / "speed", model("a", 1.5))
    text = write_rows(tmp_path, "CUDA: D, cuda:sm_90").read_text()
    assert "| speed | speed | a: ours / PyTorch float32 | 1.5 | <= 2 | pass |" in text
    for name in PARTS.keys() - {"speed"}:
        assert f"| {name} | | not measured |" in text


def test_every_part_is_a_command_with_these_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PARTS:
        given: list[list[str]] = []

        def run(command: list[str], check: bool, given: list[list[str]] = given) -> Any:
            given.append(command)
            return type("Ended", (), {"returncode": 0})

        monkeypatch.setattr(cuda_rows.subprocess, "run", run)
        assert cuda_rows.run_part(name, Path("out"), quick=True, bundles=Path("b")) == 0
        ((_, _, package, group, command, *options),) = given
        assert (package, group) == ("cotenant", "bench")
        known = {one for each in bench.commands[command].params for one in each.opts}
        assert {one for one in options if one.startswith("--")} <= known


@pytest.mark.timeout(600)
def test_a_tiny_run_beside_onnxruntime(tmp_path: Path) -> None:
    for extra, module in [("opencl", "pyopencl"), ("compile", "tvm")]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs pip install 'cotenant[{extra}]'")
    out = tmp_path / "out"
    options = ["--out", str(out), "--model", "cifarnet", "--rounds", "2"]
    done = CliRunner().invoke(bench, ["speed", *options])
    assert done.exit_code == 0, done.output
    about = json.loads((out / "summary.json").read_text())["models"]["cifarnet"]
    assert set(about["median_s"]) == {"ours", "ONNX Runtime"}
    assert about["ratio"]["ONNX Runtime"] > 0
    assert CliRunner().invoke(bench, ["report", str(out)]).exit_code == 0


@pytest.mark.parametrize("name", ["cifarnet", "alexnet", "inception_v2", "shufflenet", "resnet50"])
def test_a_network_in_pytorch_is_the_same(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    path = zoo_path(name, tmp_path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    inputs = {
        one.name: rng.standard_normal(
            [n if isinstance(n, int) else 1 for n in one.shape], np.float32
        )
        for one in session.get_inputs()
    }
    names = [output.name for output in session.get_outputs()]
    wanted = dict(zip(names, session.run(names, inputs), strict=True))
    found = TorchGraph(path, torch, "cpu").outputs(inputs)
    for output, value in wanted.items():
        assert np.abs(found[output] - value).max() <= 1e-4 * np.abs(value).max()


def test_an_operator_that_is_not_mapped_is_named(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    with pytest.raises(Unsupported, match="LSTM"):
        TorchGraph(zoo_path("lstm", tmp_path), torch, "cpu")
