"""The prediction report from records made by hand, whose every figure is known."""

import orjson
import pytest

from cotenant.bench.accuracy import summarise
from cotenant.bench.prediction_report import SCATTER, write_prediction_report
from cotenant.bench.records import (
    Failure,
    Forecast,
    Luck,
    Observation,
    Phase,
    RecordWriter,
    read_records,
)
from cotenant.bench.report import RECORDS, REPORT, SUMMARY
from cotenant.core.record import Outcome

SLO = {"latency_s": 0.1, "quantile": 0.9}


def header(**tasks):
    return {
        "suite": "prediction",
        "machine": {"processor": "P", "cores": 2, "memory_bytes": 2**30, "system": "S"},
        "versions": {"cotenant": "0"},
        "seed": 1,
        "policies": ["cotenant"],
        "seconds_s": 10.0,
        "warm_up_s": 1.0,
        "mixes": [
            {
                "name": "mix-01",
                "seed": [1],
                "utilization": 0.5,
                "tasks": [
                    {
                        "name": name,
                        "model": f"zoo:{name}",
                        "criticality": kind,
                        "slo": SLO,
                        "arrivals": {"kind": "poisson", "rate_rps": 10.0},
                    }
                    for name, kind in tasks.items()
                ],
            }
        ],
    }


def window(number, service_s=None, **latencies_s):
    """Every request of a task takes the same time, so that each of its figures is that time."""
    start_s = 100.0 * (number + 1)
    place = ("mix-01", "cotenant", number)
    yield Phase(*place, tuple(latencies_s), start_s - 1.0, start_s, start_s + 10.0, service_s or {})
    for task, latency_s in latencies_s.items():
        early_s = start_s - 0.5  # warm-up: it must not count
        yield Observation(*place, task, early_s, early_s, early_s + 9.0, 200, Outcome.OK)
        for due in range(10):
            due_s = start_s + due
            yield Observation(*place, task, due_s, due_s, due_s + latency_s, 200, Outcome.OK)


def forecast(task, predictor, time_s, fits, number=0):
    figures = (None,) * 4 if time_s is None else (time_s, time_s, time_s, float(fits))
    return Forecast("mix-01", "cotenant", predictor, task, *figures, fits, "method", number)


@pytest.fixture
def folder(tmp_path):
    """c: 50 ms in both windows, predicted 58 and 52; b: 80 ms, then 120 ms, predicted 90 ms."""
    with RecordWriter(tmp_path / RECORDS, header(c="critical", b="best-effort")) as writer:
        writer.write(
            [
                forecast("c", "cotenant", 0.058, True),
                forecast("c", "cotenant", 0.052, True, 1),
                forecast("b", "cotenant", 0.090, True),
                Luck("mix-01", "cotenant", "c", 0.01, 0.02, 0.04),
                Luck("mix-01", "cotenant", "b", 0.03, 0.04, 0.08),
                forecast("c", "service-time-alone", 0.025, True),
                forecast("b", "service-time-alone", 0.050, True),
                forecast("c", "published", None, False),
                forecast("b", "published", 0.200, False),
                *window(0, c=0.05, b=0.08),
                *window(1, c=0.05, b=0.12),
                Failure("mix-02", "cotenant", "it would not start"),
            ]
        )
    return tmp_path


def test_the_errors_are_those_worked_out_by_hand(folder):
    summary = summarise(read_records(folder / RECORDS))
    assert summary["mixes"] == 1
    assert len(summary["rows"]) == 2
    assert summary["mape"]["mean"] == pytest.approx((0.1 + 0.1) / 2)  # 55/50 and 90/100
    assert summary["mape_of"]["cotenant"] == summary["mape"]
    assert summary["mape_of"]["service-time-alone"]["mean"] == pytest.approx(0.5)
    assert summary["mape_of"]["published"]["mean"] == pytest.approx(1.0)  # of b alone
    assert summary["mape"]["p95"] == pytest.approx((0.1 + 0.25) / 2)  # b: 90 against 120
    assert summary["luck_mape"] == pytest.approx({"mean": 0.02, "p95": 0.03, "p99": 0.06})
    # Each window as the prediction of the other: nothing for c, 80 against 120 and back for b.
    assert summary["repeatability_mape"]["mean"] == pytest.approx((0.0 + (1 / 3 + 1 / 2) / 2) / 2)


def test_a_mix_fits_if_most_of_its_forecasts_said_so_and_the_first_is_told_alone(tmp_path):
    said = ((0, 0.06, False), (1, 0.05, True), (2, 0.04, True))
    with RecordWriter(tmp_path / RECORDS, header(c="critical")) as writer:
        for number, told_s, fits in said:
            writer.write([forecast("c", "cotenant", told_s, fits, number)])
            writer.write(window(number, c=0.05))
    summary = summarise(read_records(tmp_path / RECORDS))
    [row] = summary["rows"]
    assert row["predicted"]["cotenant"]["fits"]
    assert row["predicted"]["cotenant"]["attainment"] == pytest.approx(2 / 3)
    assert summary["mape"]["mean"] == pytest.approx(0.0)
    assert summary["first_forecasts"]["mean"] == pytest.approx(0.2)


def test_the_error_is_told_by_criticality_and_by_load(folder):
    parts = {one["part"]: one for one in summarise(read_records(folder / RECORDS))["parts"]}
    assert {name: one["tasks"] for name, one in parts.items()} == {
        "critical": 1,
        "best-effort": 1,
        "load 0.20 to 0.42": 0,
        "load 0.42 to 0.63": 2,
        "load 0.63 to 0.85": 0,
    }
    assert parts["critical"]["mape"]["p95"] == pytest.approx(0.1)
    assert parts["best-effort"]["mape"]["p95"] == pytest.approx(0.25)
    assert parts["load 0.42 to 0.63"]["mape"]["p95"] == pytest.approx(0.175)
    assert parts["load 0.20 to 0.42"]["mape"]["p95"] is None
    assert parts["best-effort"]["repeatability_mape"]["mean"] == pytest.approx(5 / 12)


def test_the_errors_interval_is_that_of_mixes_drawn_again(tmp_path):
    one_mix = header(c="critical", b="best-effort")
    names = [f"mix-{number:02}" for number in range(25)]
    mixes = [one_mix["mixes"][0] | {"name": name} for name in names]
    with RecordWriter(tmp_path / RECORDS, one_mix | {"mixes": mixes}) as writer:
        for number, name in enumerate(names):
            told_s = 0.06 if number < 5 else 0.05
            writer.write(
                line._replace(scenario=name)
                for line in (
                    forecast("c", "cotenant", told_s, True),
                    forecast("b", "cotenant", told_s, True),
                    *window(0, c=0.05, b=0.05),
                )
            )
    summary = summarise(read_records(tmp_path / RECORDS))
    assert summary["mape"]["mean"] == pytest.approx(0.04)
    # Both tasks of a mix are wrong together: 0.2 k / 25 with k of Binomial(25, 0.2), not of 50.
    assert summary["mape_interval"]["mean"] == pytest.approx((0.008, 0.072), abs=0.0081)


def test_one_mix_says_nothing_of_another_draw(folder):
    summary = summarise(read_records(folder / RECORDS))
    assert summary["mape_interval"] == {"mean": None, "p95": None, "p99": None}


def test_verdicts_and_false_fits(folder):
    summary = summarise(read_records(folder / RECORDS))
    attained = {row["task"]: row["attainment"] for row in summary["rows"]}
    assert attained == {"c": 1.0, "b": 0.5}
    assert summary["verdict_accuracy"] == 0.5  # c fits; b was said to, and attains 0.5 of 0.9
    assert summary["false_fits"] == 1
    assert summary["verdict_accuracy_of"]["published"] == 0.5  # right about b, wrong about c
    assert summary["false_fits_of"]["published"] == 0


def test_a_report_says_every_figure_and_what_failed(folder):
    bars = {bar.figure: bar for bar in write_prediction_report(folder)}
    assert not bars["error of mean"].met
    assert bars["error of mean over published's"].value == pytest.approx(0.1)
    assert bars["error of mean over published's"].met
    assert not bars["false fits"].met
    summary = orjson.loads((folder / SUMMARY).read_bytes())
    assert {"mixes", "seed", "mape", "mape_of", "repeatability_mape", "verdict_accuracy",
            "false_fits", "rows"} <= set(summary)  # fmt: skip
    text = (folder / REPORT).read_text()
    assert "it would not start" in text
    assert "MISS" in text
    assert "fits, WRONG" in text
    assert "| best-effort | 1 | 10.0% | 25.0% | 25.0% | 41.7% | 41.7% | 41.7% |" in text
    assert (folder / SCATTER).read_bytes().startswith(b"\x89PNG")


def test_a_window_on_another_machine_does_not_count_and_is_told(tmp_path):
    told = ((0, 0.05), (1, 0.09), (2, 0.05))
    with RecordWriter(tmp_path / RECORDS, header(c="critical")) as writer:
        writer.write(
            [
                *(forecast("c", "cotenant", told_s, True, number) for number, told_s in told),
                *window(0, {"c": 0.02}, c=0.05),
                *window(1, {"c": 0.03}, c=0.09),
                *window(2, {"c": 0.021}, c=0.05),
            ]
        )
    write_prediction_report(tmp_path)
    summary = orjson.loads((tmp_path / SUMMARY).read_bytes())
    assert summary["steadiness"]["windows"] == 3
    assert summary["steadiness"]["left_out"] == 1
    [row] = summary["rows"]
    assert row["requests"] == 20
    assert summary["mape"]["mean"] == pytest.approx(0.0)
    assert summary["repeatability_mape"]["mean"] == pytest.approx(0.0)
    every = summary["every_window"]
    assert every["mape"]["mean"] == pytest.approx(0.0)
    # That of the first round alone stands in for those of all windows.
    assert summary["first_forecasts"]["mean"] == pytest.approx(0.0)
    assert every["repeatability_mape"]["mean"] > 0.2
    assert "Of 3 windows 1 do not count" in (tmp_path / REPORT).read_text()


def test_records_that_saw_nothing_miss_every_bar(tmp_path):
    with RecordWriter(tmp_path / RECORDS, header(c="critical")):
        pass
    bars = write_prediction_report(tmp_path)
    assert bars
    assert not any(bar.met for bar in bars)
    assert not (tmp_path / SCATTER).exists()
