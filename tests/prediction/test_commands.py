"""The commands: exit status, JSON, tables, the picture, and messages a person can act on."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cotenant.cli.capacity import capacity
from cotenant.cli.predict import predict
from cotenant.cli.profile import profile as profile_command
from cotenant.cli.simulate import simulate
from cotenant.cli.whatif import whatif
from cotenant.core.errors import WorkloadError
from cotenant.profiling.file import load_profile, origin
from tests.models import slow_model
from tests.prediction.conftest import WORKLOAD


def run(command, *arguments):
    return CliRunner().invoke(command, [str(one) for one in arguments])


def test_what_fits_ends_with_zero_and_says_every_figure(files):
    result = run(predict, *files, "--json")
    answer = json.loads(result.output)
    assert (result.exit_code, answer["fits"]) == (0, True)
    det, bulk = answer["tasks"]
    assert det["mean_s"] == pytest.approx(0.02 + 10 * 0.02**2 / 2 / 0.8)
    assert det["attainment"] > 0.99
    # Each is one core wide and there are two: the loop is never held up by the other.
    assert bulk["throughput_rps"] == pytest.approx(1 / 0.04, rel=0.01)
    assert "not measured" in answer["notes"][0]


def test_what_does_not_fit_ends_with_three_and_names_the_culprit(files):
    faster = ["--set", "det.arrivals.rate=60/s"]
    result = run(whatif, *files, *faster, "--json")
    answer = json.loads(result.output)
    assert (result.exit_code, answer["before"]["fits"], answer["after"]["fits"]) == (3, True, False)
    assert answer["after"]["tasks"][0]["culprit"] == "det"
    table = run(whatif, *files, *faster)
    assert table.exit_code == 3
    assert "fits -> does not fit" in table.output


def test_the_table_shows_each_task_and_its_verdict(files):
    result = run(predict, *files)
    assert result.exit_code == 0
    assert "M/G/1 first come first served" in result.output
    assert result.output.count("fits") == 2


def test_capacity_is_where_predict_changes_its_verdict(files, tmp_path):
    picture = tmp_path / "curve.png"
    result = run(capacity, *files, "--json", "--picture", picture)
    factor = json.loads(result.output)["factor"]
    assert result.exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    for share, status in ((0.999, 0), (1.02, 3)):
        rate = f"det.arrivals.rate={10 * factor * share}/s"
        assert run(whatif, *files, "--set", rate).exit_code == status


def test_capacity_of_one_task_and_of_a_workload_that_is_over_it(files):
    assert run(capacity, *files, "--task", "det").exit_code == 0
    with pytest.raises(WorkloadError, match="no task 'bulk' with periodic or poisson"):
        CliRunner().invoke(capacity, [*files, "--task", "bulk"], catch_exceptions=False)
    Path(files[0]).write_text(WORKLOAD.replace("10/s", "60/s"))
    result = run(capacity, *files)
    assert result.exit_code == 3
    assert "beyond it breaks: det: " in result.output


def test_tasks_come_and_go(files, tmp_path):
    more = tmp_path / "more.yaml"
    more.write_text("tasks: [{name: more, model: det.onnx, width: 1, criticality: critical, "
                    "arrivals: {kind: poisson, rate: 5/s}}]")  # fmt: skip
    result = run(whatif, *files, "--add", more, "--remove", "bulk", "--json")
    after = json.loads(result.output)["after"]["tasks"]
    assert [one["task"] for one in after] == ["det", "more"]
    assert after[0]["mean_s"] == pytest.approx(0.02 + 15 * 0.02**2 / 2 / 0.7)


def test_a_profile_from_elsewhere_needs_a_word(files):
    profile = Path(files[2])
    content = json.loads(profile.read_text())
    content["machine"]["cores"] = 99
    profile.write_text(json.dumps(content))
    with pytest.raises(WorkloadError, match="cores was 99"):
        CliRunner().invoke(predict, files, catch_exceptions=False)
    assert run(predict, *files, "--any-machine").exit_code == 0


def test_a_measured_profile_predicts_the_workload_it_came_from(files, tmp_path):
    out = tmp_path / "measured.json"
    quick = ("--rounds", 3, "--requests", 5, "--tight", 1.0, "--alone", 0)
    result = run(profile_command, files[0], "-o", out, *quick)
    assert result.exit_code == 0, result.output
    assert str(out) in result.output
    assert len(load_profile(out, origin()).beside) == 2
    answer = json.loads(run(predict, files[0], "--profile", out, "--json").output)
    assert answer["notes"] == []
    assert all(one["mean_s"] > 0.0 for one in answer["tasks"])


def test_segments_that_are_asked_for_are_in_the_table_and_the_file(files, tmp_path):
    out = tmp_path / "measured.json"
    quick = ("--rounds", 3, "--requests", 5, "--tight", 1.0, "--alone", 0)
    Path(files[0]).write_text("tasks: [{name: slow, model: slow.onnx, width: 1}]")
    slow_model(tmp_path, 16, 3)
    result = run(profile_command, files[0], "-o", out, *quick, "--segments", "1,2")
    assert result.exit_code == 0, result.output
    assert "segment 2 of 2" in result.output
    whole, cut = load_profile(out, origin()).alone
    assert (whole.by_segment, len(cut.by_segment)) == ((), 2)
    for wrong in ("0", "1,x", "1.5", ","):
        result = run(profile_command, files[0], "-o", out, "--segments", wrong)
        assert result.exit_code == 2
        assert "no list of whole numbers from 1 on; write 1,2" in result.output


def test_the_virtual_clock_agrees_with_the_formula_that_is_exact(files):
    by = {
        name: json.loads(run(predict, *files, "--by", name, "--json").output)["tasks"][0]
        for name in ("auto", "formula", "virtual-clock")
    }
    assert by["virtual-clock"]["method"] == "virtual clock"
    assert by["formula"]["method"] == "M/G/1 first come first served"
    assert by["virtual-clock"]["mean_s"] == pytest.approx(by["formula"]["mean_s"], rel=0.05)
    assert by["virtual-clock"]["p99_s"] == pytest.approx(by["formula"]["p99_s"], rel=0.1)


def test_simulate_takes_its_service_times_from_a_profile(files):
    result = run(simulate, *files[:3], "--requests", 20_000, "--json")
    assert result.exit_code == 0, result.output
    det, bulk = (json.loads(result.stdout)["tasks"][name] for name in ("det", "bulk"))
    assert det["mean_s"] == pytest.approx(0.02 + 10 * 0.02**2 / 2 / 0.8, rel=0.05)
    assert bulk["utilization"] == pytest.approx(0.5, rel=0.02)  # one of two cores, always
    assert "a second" in result.stderr
    refused = run(simulate, *files[:3], "--service", "det=8ms")
    assert refused.exit_code == 1
    assert "--profile says what --service" in refused.output
