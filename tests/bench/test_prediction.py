"""The suite `prediction` from start to end on real servers, and through what may go wrong."""

import sys

import orjson
import pytest
from click.testing import CliRunner

from cotenant.bench.anchor import Looks, Speed
from cotenant.bench.load import LoadGenerator
from cotenant.bench.mixes import DrawnMix
from cotenant.bench.prediction import PredictionRun, Windows, described
from cotenant.bench.prediction_report import SCATTER
from cotenant.bench.records import Forecast, RecordWriter, read_records
from cotenant.bench.report import RECORDS, REPORT, SUMMARY
from cotenant.bench.steady import WINDOWS
from cotenant.bench.zoo_profile import zoo_workload
from cotenant.cli.bench import bench
from cotenant.core.hardware import allowed_cores
from cotenant.core.task import Periodic, Slo, Task
from cotenant.core.workload import Workload
from cotenant.profiling.file import load_profile, origin, save_profile
from cotenant.profiling.profile import Alone
from cotenant.profiling.subject import subject_of
from tests.bench.conftest import FAKE
from tests.prediction.made_up import fixed, made_up
from tests.prediction.made_up import subject_of as made_up_subject

MODELS = ("gru", "shufflenet")
SHORT = Windows(seconds_s=0.6, warm_up_s=0.1, seed=5, patience_s=0.0)


@pytest.fixture
def profile(tmp_path):
    """Of two small models of the zoo on this machine; the figures are made up."""
    workload = zoo_workload(MODELS, "cotenant")
    alone = tuple(
        Alone(
            subject=subject_of(task, workload),
            batch=1,
            model=task.model,
            service=fixed(0.01),
            relative_error=0.0,
            overhead_s=0.001,
            load_s=0.1,
            memory_bytes=1,
        )
        for task in workload.tasks
    )
    here = origin()
    made = made_up({}, alone=alone, machine=dict(here.machine), versions=dict(here.versions))
    path = tmp_path / "profile.json"
    save_profile(made, path)
    return path


def run(*arguments):
    return CliRunner().invoke(bench, ["prediction", *(str(one) for one in arguments)])


def test_one_mix_is_predicted_then_measured_then_reported(profile, tmp_path, monkeypatch):
    monkeypatch.setattr("cotenant.bench.front.PASSES", 2)  # minutes otherwise
    out = tmp_path / "out"
    models = [part for name in MODELS for part in ("--model", name)]
    short = ("--seconds", 1.0, "--warm-up", 0.2)
    result = run(
        *("--out", out, "--profile", profile, "--mixes", 1, "--patience", 0), *short, *models
    )
    assert result.exit_code == 0, result.output
    kinds = [orjson.loads(line)["kind"] for line in (out / RECORDS).read_bytes().splitlines()]
    assert kinds.count("phase") == WINDOWS
    records = read_records(out / RECORDS)
    assert not records.failures
    assert records.header["cores"] == {"servers": [*allowed_cores()], "generator": []}
    summary = orjson.loads((out / SUMMARY).read_bytes())
    assert summary["mixes"] == 1
    assert set(summary["mape_of"]) == {"cotenant", "service-time-alone", "published"}
    for row in summary["rows"]:
        assert row["requests"] > 0
        own = row["predicted"]["cotenant"]
        # On a machine that tests have made slow the mix may be unstable, and has no mean.
        assert own["mean"] > 0.0 if own["mean"] is not None else not own["fits"]
    assert (out / REPORT).is_file()
    assert (out / SCATTER).is_file()
    # The front was measured and kept, so that the next run need not.
    kept = load_profile(out / "profile-cotenant.json", origin())
    assert all(None not in (one.front_s, one.rested) for one in kept.alone)
    # Forecast again by the same code, all is as it was, and other windows say the same.
    again = CliRunner().invoke(bench, ["reforecast", str(out), "--out", str(tmp_path / "again")])
    assert again.exit_code == 0, again.output
    others = read_records(tmp_path / "again" / RECORDS)
    assert set(others.forecasts) == set(records.forecasts)
    assert set(others.luck) == set(records.luck)
    assert others.observations == records.observations
    assert "made again" in (tmp_path / "again" / REPORT).read_text()


def test_what_cannot_be_forecast_again_says_why(tmp_path):
    def again(folder, out):
        return CliRunner().invoke(bench, ["reforecast", str(folder), "--out", str(out)])

    empty = again(tmp_path, tmp_path / "out")
    assert empty.exit_code == 1
    assert "run the bench first" in empty.output
    header = {"suite": "prediction", "policies": ["cotenant"], "mixes": []}
    with RecordWriter(tmp_path / RECORDS, header):
        pass
    same = again(tmp_path, tmp_path)
    assert same.exit_code == 2
    assert "another folder" in same.output
    lost = again(tmp_path, tmp_path / "out")
    assert lost.exit_code == 1
    assert "profile-cotenant.json" in lost.output
    with RecordWriter(tmp_path / RECORDS, header | {"suite": "mixed"}):
        pass
    other = again(tmp_path, tmp_path / "out")
    assert other.exit_code == 2
    assert "no records of" in other.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mixes", 0], "--mixes"),
        (["--model", "sqeezenet"], "'sqeezenet' is not one of"),
        (["--policy", "best"], "'best' is not one of"),
        (["--model", "gru", "--model", "lstm"], "the profile lacks task 'lstm-critical'"),
        (["--model", "gru"], "a mix needs 2 models"),
        (["--profile", "absent.json"], "cotenant profile"),
    ],
)
def test_bad_input_says_what_to_do(arguments, says, profile, tmp_path):
    given = [] if "--profile" in arguments else ["--profile", profile]
    result = run("--out", tmp_path / "out", *given, *arguments)
    assert result.exit_code != 0
    assert says in " ".join(result.output.split())


def mix(name):
    task = Task(
        name="a",
        model="zoo:a",
        slo=Slo(latency_s=0.5),
        arrivals=Periodic(kind="periodic", rate_rps=30.0),
    )
    return DrawnMix((1,), 0.5, Workload(name=name, tasks=(task,)))


def said(workload, profile):
    return [
        Forecast(
            workload.name, workload.policy, "cotenant", task.name, 0.1, 0.1, 0.1, 1.0, True, ""
        )
        for task in workload.tasks
    ]


def run_mixes(folder, *names, predictors, program, alone_s=0.01, announce=lambda step: None):
    mixes = [mix(name) for name in names]
    header = {
        "policies": ["cotenant"],
        "mixes": list(described(mixes)),
        "machine": {},
        "versions": {},
        "seed": 1,
    }
    with RecordWriter(folder / RECORDS, header) as writer:
        PredictionRun(
            mixes,
            ("cotenant",),
            {"cotenant": made_up({"zoo:a": alone_s})},
            SHORT,
            sink=writer,
            folder=folder,
            announce=announce,
            predictors=predictors,
            subject_of=made_up_subject,
            program=program,
        ).run()
    return read_records(folder / RECORDS)


def test_mixes_are_forecast_then_measured_in_rounds_and_draw_arrivals_of_their_own(tmp_path):
    records = run_mixes(
        tmp_path, "one", "two", predictors={"own": said}, program=(*FAKE, "--service-s", "0.002")
    )
    in_time = sorted(records.phases, key=lambda one: one.start_s)
    assert [one.round for one in in_time] == [0, 0, 1, 1, 2, 2]
    for first, second in zip(in_time[::2], in_time[1::2], strict=True):
        assert {first.scenario, second.scenario} == {"one", "two"}
    kinds = [orjson.loads(line)["kind"] for line in (tmp_path / RECORDS).read_bytes().splitlines()]
    assert [kind for kind in kinds if kind != "request"] == [
        "header",
        *("anchor", "forecast", "phase") * 4,
        *("anchor", "forecast", "phase", "luck") * 2,
    ]
    for of_window in (records.anchors, records.forecasts):
        assert [(one.scenario, one.round) for one in of_window] == [
            (one.scenario, one.round) for one in records.phases
        ]
    firsts = {
        min(one.scheduled_s for one in records.observations if seen(one, phase))
        - phase.warm_up_from_s
        for phase in records.phases
    }
    assert len(firsts) == 6
    kept = {one.name for one in tmp_path.glob("served-*.jsonl")}
    assert kept == {
        f"served-{name}-cotenant-{number}.jsonl" for name in ("one", "two") for number in range(3)
    }


def seen(one, phase):
    return (one.scenario, one.round) == (phase.scenario, phase.round)


def test_a_server_that_does_not_start_costs_only_its_own_mix(tmp_path):
    broken = tmp_path / "sometimes.py"
    broken.write_text(
        "import runpy, sys\n"
        "if 'workload-bad' in sys.argv[2]: sys.exit('no such model')\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    program = (sys.executable, str(broken), FAKE[1])
    # The fake server is asked for as `PROGRAM FAKE WORKLOAD ...`; the wrapper hands it on.
    records = run_mixes(tmp_path, "bad", "good", "last", predictors={"own": said}, program=program)
    assert {one.scenario for one in records.phases} == {"good", "last"}
    assert [one.scenario for one in records.failures] == ["bad"] * WINDOWS
    assert all("no such model" in one.reason for one in records.failures)


def test_a_prediction_that_fails_is_written_down_and_the_window_still_measured(tmp_path):
    def fails(workload, profile):
        raise ValueError("no inverse")

    records = run_mixes(tmp_path, "one", predictors={"own": said, "other": fails}, program=FAKE)
    assert [one.reason for one in records.failures] == ["no inverse"] * WINDOWS
    assert len(records.phases) == WINDOWS
    assert {one.predictor for one in records.forecasts} == {"cotenant"}


def test_forecasts_start_from_what_all_looks_so_far_say_of_a_model(tmp_path):
    given = []

    def keeps(workload, profile):
        given.append((workload, profile))
        return said(workload, profile)

    records = run_mixes(
        tmp_path,
        "one",
        "two",
        predictors={"own": keeps},
        program=(*FAKE, "--service-s", "0.02"),
        alone_s=0.01,
    )
    looks = Looks()
    for look, (workload, profile) in zip(records.anchors, given, strict=True):
        assert 1.9 < look.calm["a"] < 4.0  # the fake and its network add to the 20 ms
        looks.add(
            workload,
            made_up_subject,
            {"a": Speed(*(getattr(look, pace)["a"] for pace in Speed._fields))},
        )
        expected = looks.expected(workload, made_up_subject)["a"]
        as_expected_s = 0.01 * expected.calm * expected.openly
        assert profile.alone[0].service.mean_s == pytest.approx(as_expected_s)


def test_a_machine_that_lacks_a_core_is_waited_for(tmp_path):
    said_so = []
    records = run_mixes(
        tmp_path,
        "one",
        predictors={"own": said},
        program=(*FAKE, "--service-s", "0.02"),
        alone_s=0.005,
        announce=lambda step: said_so.append(step.doing),
    )
    assert sum("waiting" in one for one in said_so) == 2 * WINDOWS
    assert len(records.anchors) == WINDOWS


def test_the_generator_is_not_left_running(tmp_path, monkeypatch):
    closed = []
    close = LoadGenerator.close
    monkeypatch.setattr(LoadGenerator, "close", lambda one: (closed.append(one), close(one)))
    run_mixes(tmp_path, "one", predictors={"own": said}, program=FAKE)
    assert len(closed) == 1
