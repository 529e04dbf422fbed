"""`cotenant simulate` as a user runs it: figures that are known, and mistakes that are named."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cotenant.cli.simulate import simulate

WORKLOAD = """
tasks:
  - name: det
    model: zoo:squeezenet
    criticality: critical
    slo: {latency: 10ms}
    arrivals: {kind: periodic, rate: 20/s}
  - name: ocr
    model: zoo:resnet50
    arrivals: {kind: closed-loop}
"""


@pytest.fixture
def workload(tmp_path: Path) -> Path:
    path = tmp_path / "workload.yaml"
    path.write_text(WORKLOAD)
    return path


def invoke(workload: Path, *options: str) -> Result:
    return CliRunner().invoke(simulate, [str(workload), "--requests", "2000", *options])


SERVICES = ("--service", "det=8ms", "--service", "ocr=40ms")


def test_best_effort_gets_exactly_what_critical_work_leaves(workload):
    result = invoke(workload, *SERVICES, "--json")
    assert result.exit_code == 0, result.output
    seen = json.loads(result.stdout)
    det, ocr = seen["tasks"]["det"], seen["tasks"]["ocr"]
    assert seen["policy"] == "cotenant"
    assert det["mean_s"] == pytest.approx(0.008)
    assert det["p99_s"] == pytest.approx(0.008, rel=0.003)
    assert det["attainment"] == 1.0
    assert det["utilization"] == pytest.approx(0.16, rel=0.01)
    assert ocr["utilization"] == pytest.approx(0.84, rel=0.01)
    assert ocr["attainment"] is None
    assert det["requests"] + ocr["requests"] == 1800  # a tenth warms up
    assert det["dropped"] == ocr["dropped"] == 0


def test_a_workload_that_asks_for_too_much_is_told_so(tmp_path):
    path = tmp_path / "workload.yaml"
    path.write_text(WORKLOAD.replace("{kind: closed-loop}", "{kind: poisson, rate: 30/s}"))
    result = invoke(path, *SERVICES, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["overloaded"] == ["cpu"]
    assert "more is asked for than can be served" in result.stderr
    calm = invoke(path, "--service", "det=8ms", "--service", "ocr=10ms", "--json")
    assert json.loads(calm.stdout)["overloaded"] == []
    assert "more is asked for" not in calm.stderr


def test_one_after_the_other_critical_work_waits(workload):
    result = invoke(workload, *SERVICES, "--policy", "sequential", "--json")
    det = json.loads(result.stdout)["tasks"]["det"]
    assert det["mean_s"] > 0.020
    assert det["attainment"] < 0.5


def test_a_seed_is_a_run(workload):
    noisy = ("--service", "det=8ms,cv=0.5", "--service", "ocr=40ms,cv=0.5")
    first, again = (invoke(workload, *noisy, "--seed", "3") for _ in range(2))
    assert first.exit_code == 0
    assert first.stdout == again.stdout
    assert first.stdout != invoke(workload, *noisy, "--seed", "4").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--service", "det=8ms"), "no service time for task 'ocr'"),
        ((*SERVICES, "--service", "orc=1ms"), "task 'orc', which the workload lacks"),
        (("--service", "det=8", "--service", "ocr=40ms"), "'8' is not a duration"),
        (("--service", "det=8ms,sd=1"), "unknown option 'sd'"),
        (("--service", "det=8ms,cv=-1"), "variation of -1.0 is impossible"),
        ((*SERVICES, "--policy", "fifo"), "unknown policy 'fifo'"),
    ],
)
def test_a_mistake_is_named(workload, options, said):
    result = invoke(workload, *options)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_policy_by_kernel_cannot_be_simulated(workload):
    result = invoke(workload, *SERVICES, "--policy", "miriam", "--capability", "elastic")
    assert result.exit_code == 1
    assert "a simulation knows no kernels; choose one of cotenant" in result.output
