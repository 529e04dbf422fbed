"""The suite of all kernels: what its report makes of records, and the command as a whole."""

import importlib.util
import json
import os
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from cotenant.bench.kernel_report import write_report
from cotenant.bench.kernels import PtxExaminer
from cotenant.cli.bench import bench
from cotenant.compiler.elastic import Rung, make_elastic
from cotenant.compiler.program import Kernel, Program
from cotenant.compiler.source import Language
from cotenant.device.cuda.nvrtc import available

HEADER = {
    "kind": "header",
    "suite": "kernels",
    "machine": {"processor": "p", "cores": 2, "system": "s"},
    "versions": {"cotenant": "0"},
    "seed": 1,
    "target": "opencl",
    "device": "d",
    "rounds": 3,
}


def kernel(name: str, static: float, preemptive: float, **more: Any) -> dict[str, Any]:
    rounds = [
        {"plain_s": plain_s, "static_s": static * plain_s, "preemptive_s": preemptive * plain_s}
        for plain_s in (1e-3, 5e-3, 2e-3)  # a machine that drifts
    ]
    return {
        "kind": "kernel",
        "model": "m",
        "kernel": name,
        "launches": 2,
        "rung": "preemptive",
        "reason": None,
        "bit_equal": True,
        "rounds": rounds,
    } | more


def written(folder: Path, *lines: dict[str, Any]) -> dict[str, bool]:
    records = b"\n".join(map(orjson.dumps, (HEADER, *lines)))
    (folder / "records.jsonl").write_bytes(records)
    bars = {bar.figure: bar.met for bar in write_report(folder)}
    summary = json.loads((folder / "summary.json").read_text())
    assert {bar["figure"]: bar["met"] for bar in summary["bars"]} == bars
    return bars


MODEL = {"kind": "model", "model": "m", "relative_error": 1e-6}


def test_costs_are_ratios_within_rounds_and_medians_over_kernels(tmp_path: Path) -> None:
    bars = written(
        tmp_path,
        kernel("a", 1.0, 1.1),
        kernel("b", 1.04, 1.2),
        kernel("c", 3.0, 1.1),
        {key: value for key, value in kernel("same", 1, 1).items() if key != "bit_equal"},
        MODEL,
    )
    assert all(bars.values())
    total = json.loads((tmp_path / "summary.json").read_text())["total"]
    assert total["cost"]["static"] == pytest.approx(1.04)
    assert total["cost"]["preemptive"] == pytest.approx(1.1)
    assert (total["kernels"], total["tried"], total["launches"]) == (4, 3, 8)


def test_brief_kernels_are_told_from_long_ones(tmp_path: Path) -> None:
    def lasting(name: str, plain_s: float, cost: float) -> dict[str, Any]:
        one = {"plain_s": plain_s, "static_s": cost * plain_s, "preemptive_s": plain_s}
        return kernel(name, 1, 1) | {"rounds": [one]}

    written(
        tmp_path,
        lasting("brief", 4e-5, 3.0),
        lasting("other", 1e-5, 2.0),
        lasting("long", 0.02, 1.01),
        {k: v for k, v in kernel("ptx", 1, 1).items() if k not in ("rounds", "bit_equal")},
        MODEL,
    )
    brief, long = json.loads((tmp_path / "summary.json").read_text())["total"]["by_length"]
    assert (brief["under_s"], brief["kernels"], brief["cost"]["static"]) == (5e-5, 2, 2.5)
    assert (long["under_s"], long["kernels"], long["cost"]["static"]) == (None, 1, 1.01)
    report = (tmp_path / "report.md").read_text()
    assert "| under 0.05 ms | 2 | 2.5 | 1 |" in report
    assert "| longer | 1 | 1.01 | 1 |" in report


def test_who_stops_it_gets_the_report_of_what_had_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(folder: Path, *rest: object) -> None:
        (folder / "records.jsonl").write_bytes(
            b"\n".join(map(orjson.dumps, (HEADER, kernel("a", 1.0, 1.1), MODEL)))
        )
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("cotenant.cli.bench_kernels.measure", stopped)
    monkeypatch.setattr("cotenant.cli.bench_kernels._examiner", lambda component, settings: None)
    arguments = ["kernels", "--out", str(tmp_path), "--target", "cuda:sm_87"]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 0, done.output
    assert "stopped" in done.output
    assert "| m | 1 |" in done.output


@pytest.mark.parametrize(
    ("line", "missed"),
    [
        (kernel("b", 1.0, 1.0, bit_equal=False), "kernels bit-equal"),
        (kernel("b", 1.2, 1.0), "static / plain"),
        (kernel("b", 1.0, 1.4), "preemptive / plain"),
        (MODEL | {"relative_error": 2e-4}, "m relative error"),
        ({"kind": "model", "model": "m", "failure": "no memory"}, "kernels that failed"),
    ],
)
def test_what_is_missed_is_said(tmp_path: Path, line: dict[str, Any], missed: str) -> None:
    lines = [line, MODEL] if line["kind"] == "kernel" else [kernel("a", 1.0, 1.0), line]
    bars = written(tmp_path, *lines)
    assert not bars[missed]
    assert "MISS" in (tmp_path / "report.md").read_text()


def test_unknown_models_and_targets_are_refused(tmp_path: Path) -> None:
    arguments = ["kernels", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(bench, [*arguments, "--model", "nosuch"])
    assert done.exit_code == 2
    done = CliRunner().invoke(bench, [*arguments, "--target", "metal"])
    assert done.exit_code == 1
    assert "no target" in done.output


@pytest.mark.skipif(
    importlib.util.find_spec("tvm") is None or importlib.util.find_spec("nvidia") is None,
    reason="needs TVM and NVRTC: pip install 'cotenant[compile,ptx]'",
)
def test_a_model_in_ptx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTENANT_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    arguments = ["kernels", "--out", str(out), "--target", "cuda:sm_87", "--model", "cifarnet"]
    done = CliRunner().invoke(bench, [*arguments, "--strict"])
    assert done.exit_code == 0, done.output
    total = json.loads((out / "summary.json").read_text())["total"]
    assert total["ptx"] == total["kernels"] == total["preemptive"] > 5
    assert set(total["registers_max"]) == {"plain", "static", "preemptive"}
    again = CliRunner().invoke(bench, ["report", str(out)])
    assert again.exit_code == 0, again.output


TWO = """
extern "C" __global__ void small(float* y) { y[blockIdx.x] = 1.0f; }
extern "C" __global__ void large(float* y) {
  __shared__ float all[1024];
  all[threadIdx.x] = y[threadIdx.x];
  __syncthreads();
  y[blockIdx.x] = all[1023 - threadIdx.x];
}
"""


@pytest.mark.skipif(not available(), reason="needs NVRTC: pip install 'cotenant[ptx]'")
def test_of_a_source_with_two_kernels_each_is_told_its_own_resources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTENANT_CACHE", str(tmp_path))
    text, examiner = make_elastic(TWO, Language.CUDA).text, PtxExaminer("sm_90")
    program = Program((), (), (), (), {}, {}, (), (), "hand")
    shared = {}
    for name in ("small", "large"):
        kernel = Kernel(name, TWO, (4, 1, 1), (1024, 1, 1), 0)
        found = examiner.kernel(kernel, text, Rung.PREEMPTIVE, program)["resources"]
        assert set(found) == {"plain", "static", "preemptive"}
        shared[name] = found["plain"]["shared_bytes"]
    assert shared["large"] >= shared["small"] + 4096
