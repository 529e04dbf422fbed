"""`cotenant bench mdtb` from options to files: one tiny run on real models, and refusals."""

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from cotenant.bench.report import REPORT, SUMMARY
from cotenant.bench.scenarios import Scenario
from cotenant.bench.suite_report import FRONTIER
from cotenant.bench.suite_run import Plan, planned
from cotenant.cli.bench import bench
from cotenant.core.errors import DeviceError, ExecutionError
from cotenant.device.elastic.find import find_devices
from cotenant.device.opencl.kind import OPENCL


def called(*arguments: str | Path) -> Result:
    return CliRunner().invoke(bench, [*map(str, arguments)])


@pytest.mark.timeout(300)
def test_a_tiny_run_on_the_processor(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--component", "cpu", "--workload", "d", "--quick", "--seconds", "1"]
    policies = ["--policy", "cotenant", "--policy", "sequential"]
    ended = called("mdtb", "--out", out, "--rate-scale", "0.5", *options, *policies)
    assert ended.exit_code == 0, ended.output
    summary = orjson.loads((out / SUMMARY).read_bytes())
    assert (summary["suite"], summary["component"]["kind"]) == ("mdtb", "cpu")
    (scenario,) = summary["scenarios"]
    assert scenario["rate_scale"] == {"factor": 0.5, "alone_s": {}}
    assert list(scenario["policies"]) == ["cotenant", "sequential"]
    assert scenario["policies"]["sequential"]["total_throughput_ratio"]["value"] == 1.0
    assert scenario["policies"]["cotenant"]["tasks"]["critical-lstm"]["attainment"] == 1.0
    before = {name: (out / name).read_bytes() for name in (SUMMARY, REPORT, FRONTIER)}
    assert called("report", out).exit_code == 0
    assert before == {name: (out / name).read_bytes() for name in before}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workload", "X"], "'X' is not one of A, B, C, D"),
        (["--rate-scale", "fast"], "write 'auto' or a number"),
        (["--component", "cpu", "--policy", "miriam"], "needs an elastic component"),
        (["--component", "cpu", "--policy", "miriamm"], "did you mean 'miriam'"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_starts(
    tmp_path: Path, options: list[str], words: str
) -> None:
    ended = called("mdtb", "--out", tmp_path / "out", *options)
    assert ended.exit_code != 0
    assert words in ended.output
    assert not (tmp_path / "out").exists()


def test_a_workload_whose_server_does_not_come_up_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(scenario: Scenario, *arguments: Any, **options: Any) -> Plan:
        if scenario.name == "mdtb-a":
            raise ExecutionError("the server ended while starting")
        return planned(scenario, *arguments, **options)

    monkeypatch.setattr("cotenant.cli.elastic_suites.planned", refusing)
    out = tmp_path / "out"
    options = ["--component", "cpu", "--workload", "A", "--workload", "D", "--quick"]
    few = ["--seconds", "1", "--rate-scale", "0.5", "--policy", "cotenant"]
    ended = called("mdtb", "--out", out, *options, *few)
    assert ended.exit_code == 0, ended.output
    assert "skipped mdtb-a: the server ended while starting" in ended.output
    summary = orjson.loads((out / SUMMARY).read_bytes())
    assert [one["name"] for one in summary["skipped"]] == ["mdtb-a"]
    assert [one["name"] for one in summary["scenarios"]] == ["mdtb-d"]


def test_without_the_compiler_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tvm", None)
    monkeypatch.delitem(sys.modules, "cotenant.compiler.lower", raising=False)
    if not opencl_there():
        pytest.skip("there is no OpenCL device")
    ended = called("mdtb", "--out", tmp_path / "out", "--component", "opencl")
    assert ended.exit_code == 1
    assert "compiling needs 'tvm'" in ended.output
    assert "cotenant[compile]" in ended.output


def test_workloads_without_bundles_are_skipped_and_named(tmp_path: Path) -> None:
    if not opencl_there():
        pytest.skip("there is no OpenCL device")
    (tmp_path / "bundles").mkdir()
    out = tmp_path / "out"
    options = ["--component", "opencl", "--bundles", tmp_path / "bundles", "--quick"]
    ended = called("mdtb", "--out", out, *options)
    assert ended.exit_code == 0, ended.output
    skipped = orjson.loads((out / SUMMARY).read_bytes())["skipped"]
    assert [one["name"] for one in skipped] == ["mdtb-a", "mdtb-b", "mdtb-c", "mdtb-d"]
    text = (out / REPORT).read_text()
    for one in skipped:
        assert "cotenant compile zoo:" in one["reason"]
        assert f"**skipped {one['name']}**: {one['reason']}" in text
    # Nothing was measured, so nothing is promised to be met.
    assert called("mdtb", "--out", out, *options, "--strict").exit_code == 1


def opencl_there() -> bool:
    try:
        return bool(find_devices(OPENCL))
    except DeviceError:
        return False
