"""The commands that are timed are run, answer, and are judged by what they took."""

import json

import pytest
from click.testing import CliRunner

from cotenant.bench import pace
from cotenant.cli.pace import pace as command
from cotenant.core.errors import Unsupported

MODELS = ("squeezenet", "gru")


def test_every_case_is_timed_in_every_round(tmp_path):
    ended = []
    bars = pace.measure(
        tmp_path, rounds=2, requests=400, seed=1, ended=lambda: ended.append(1), models=MODELS
    )
    assert len(ended) == 2 * len(bars) == 8
    assert [(bar.scenario, bar.limit, bar.at_most) for bar in bars] == [
        *[("predict", 1.0, True)] * 2,
        *[("simulate", 50_000.0, False)] * 2,
    ]
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    for bar, row in zip(bars, rows, strict=True):
        first, second = sorted(row["values"])
        assert first > 0.0
        assert row["value"] == pytest.approx((first + second) / 2.0)
        assert row["met"] is bar.met
        assert bar.figure in (tmp_path / "report.md").read_text()


def test_fifty_tasks_are_drawn_in_one_mix_for_each_way_to_predict():
    mixed, poisson, few, again = pace.cases(1, MODELS)
    assert len(mixed.workload.tasks) == len(poisson.workload.tasks) == 50
    assert len(few.workload.tasks) == 5
    assert again.workload is mixed.workload
    kinds = [{task.arrivals.kind for task in one.workload.tasks} for one in (mixed, poisson)]
    assert kinds == [{"periodic", "poisson"}, {"poisson"}]
    assert pace.cases(1, MODELS) == pace.cases(1, MODELS) != pace.cases(2, MODELS)


def test_a_command_that_fails_is_an_error_that_names_it(tmp_path, monkeypatch):
    one_model = pace.made_up_profile(MODELS[:1])
    monkeypatch.setattr(pace, "made_up_profile", lambda models: one_model)
    with pytest.raises(Unsupported, match=r"predict .*failed: .*the profile lacks task"):
        pace.measure(tmp_path, rounds=1, requests=400, seed=1, ended=list, models=MODELS)


def test_the_command_refuses_no_rounds(tmp_path):
    ended = CliRunner().invoke(command, ["--out", str(tmp_path), "--rounds", "0"])
    assert ended.exit_code == 2
    assert "--rounds" in ended.output
