"""From records of an elastic suite to its figures: values worked out by hand, schema, bars."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from cotenant.bench.disturbed import disturbed_rounds
from cotenant.bench.frontier import points
from cotenant.bench.records import (
    Line,
    Observation,
    Pause,
    Phase,
    Records,
    RecordWriter,
    read_records,
)
from cotenant.bench.report import PICTURE, RECORDS, REPORT, SUMMARY
from cotenant.bench.suite_bars import Advantage, advantage, judge_suite
from cotenant.bench.suite_report import FRONTIER, write_suite_report
from cotenant.bench.suite_summary import summarise_suite, worst_slowdown
from tests.bench import fixture

OWN, REFERENCE, MIRIAM = "cotenant", "sequential", "miriam"


def header(**changes: Any) -> dict[str, Any]:
    scale = {"factor": 0.25, "alone_s": {"c": 0.05}}
    scenario = {
        "policies": [OWN, REFERENCE, MIRIAM],
        "rate_scale": scale,
        "together": True,
        "tile_p99_s": 0.0025,
    }
    return fixture.header(**scenario) | {
        "suite": "mdtb",
        "component": {"kind": "opencl", "device": "D"},
        "skipped": [{"name": "mdtb-c", "reason": "zoo:gru: no loops"}],
        **changes,
    }


def lines(policy: str, critical_s: float, best_effort_rps: int) -> list[Line]:
    """Ten seconds: c once a second, b in a closed loop."""
    gap_s = 1.0 / best_effort_rps
    return [
        fixture.phase(policy, 300.0, ("c", "b")),
        *(fixture.seen(policy, "c", 300.0 + place, critical_s) for place in range(10)),
        *(
            fixture.seen(policy, "b", 300.0 + gap_s * place, gap_s)
            for place in range(10 * best_effort_rps)
        ),
    ]


def pauses(policy: str, *pauses_s: float) -> list[Line]:
    return [Pause(fixture.SCENARIO, policy, 0, pause_s) for pause_s in pauses_s]


EVERYTHING = [
    *fixture.lines_alone(),
    *lines(OWN, 0.06, 4),
    *lines(REFERENCE, 0.1, 1),
    *lines(MIRIAM, 0.075, 3),
    *pauses(OWN, 0.001, 0.003),
]


def written(folder: Path, content: list[Line], **changes: Any) -> Records:
    with RecordWriter(folder / RECORDS, header(**changes)) as writer:
        writer.write(content)
    return read_records(folder / RECORDS)


def policies(records: Records) -> Any:
    return summarise_suite(records)["scenarios"][0]["policies"]


def test_pauses_come_back_as_they_were(tmp_path: Path) -> None:
    assert list(written(tmp_path, EVERYTHING).pauses) == pauses(OWN, 0.001, 0.003)


def test_figures_worked_out_by_hand(tmp_path: Path) -> None:
    found = policies(written(tmp_path, EVERYTHING))
    # One of c and four of b each second, against one of each.
    assert found[OWN]["total_throughput_ratio"]["value"] == pytest.approx(5.0 / 2.0)
    assert found[MIRIAM]["total_throughput_ratio"]["value"] == pytest.approx(4.0 / 2.0)
    for figures in found.values():
        ratio = figures["total_throughput_ratio"]
        assert ratio["low"] <= ratio["value"] + 1e-9
        assert ratio["value"] <= ratio["high"] + 1e-9
    assert found[OWN]["pause_p99_s"] == pytest.approx(0.001 + 0.99 * 0.002)
    assert found[MIRIAM]["pause_p99_s"] is None
    assert worst_slowdown(found[OWN], "p99") == pytest.approx(0.06 / 0.05)


def test_the_reference_beside_itself_is_one_exactly(tmp_path: Path) -> None:
    ratio = policies(written(tmp_path, EVERYTHING))[REFERENCE]["total_throughput_ratio"]
    assert ratio == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_the_schema_is_that_of_mixed_and_more(tmp_path: Path) -> None:
    summary = orjson.loads(orjson.dumps(summarise_suite(written(tmp_path, EVERYTHING))))
    assert set(summary) == {
        "suite",
        "machine",
        "versions",
        "seed",
        "rounds",
        "scenarios",
        "component",
        "skipped",
        "left_out",
    }
    (scenario,) = summary["scenarios"]
    assert set(scenario) == {"name", "policies", "rate_scale", "tile_p99_s", "advantage"}
    assert list(scenario["policies"]) == [OWN, REFERENCE, MIRIAM]
    for policy in scenario["policies"].values():
        assert set(policy) == {
            "tasks",
            "best_effort_ratio",
            "total_throughput_ratio",
            "pause_p99_s",
        }
        assert set(policy["total_throughput_ratio"]) == {"value", "low", "high"}


def test_without_the_reference_there_is_no_ratio(tmp_path: Path) -> None:
    content = [*fixture.lines_alone(), *lines(OWN, 0.06, 4)]
    assert policies(written(tmp_path, content))[OWN]["total_throughput_ratio"] is None


def test_bars_beside_miriam(tmp_path: Path) -> None:
    records = written(tmp_path, EVERYTHING)
    summary = summarise_suite(records)
    ours = advantage(summary["scenarios"][0])
    assert ours == pytest.approx(Advantage(0.075 / 0.06, 5.0 / 4.0))
    for figure in Advantage._fields:
        interval = summary["scenarios"][0]["advantage"][figure]
        assert interval["low"] <= interval["value"] <= interval["high"]
    bars = {bar.figure: bar for bar in judge_suite(records.header, summary)}
    assert bars["better advantage over miriam"].value == pytest.approx(1.25)
    assert bars["worse advantage over miriam, upper end"].met


def in_round(number: int, content: list[Line]) -> list[Line]:
    return [
        line._replace(round=number)
        for line in content
        if isinstance(line, Phase | Observation | Pause)  # all that phases are made of here
    ]


def test_advantages_are_taken_within_rounds(tmp_path: Path) -> None:
    # Everything takes twice as long in the second round, and Miriam is unlucky in the third.
    slower = [*lines(OWN, 0.12, 2), *lines(REFERENCE, 0.2, 1), *lines(MIRIAM, 0.15, 1)]
    unlucky = [*lines(OWN, 0.06, 4), *lines(REFERENCE, 0.1, 1), *lines(MIRIAM, 0.3, 3)]
    content = [*EVERYTHING, *in_round(1, slower), *in_round(2, unlucky)]
    (scenario,) = summarise_suite(written(tmp_path, content))["scenarios"]
    latency, throughput = (scenario["advantage"][one] for one in Advantage._fields)
    # 1.25, 1.25 and 5; the middle of all pairwise averages of their logarithms.
    assert latency["value"] == pytest.approx((1.25 * 2.5) ** 0.5)
    assert (latency["low"], latency["high"]) == pytest.approx((1.25, 5.0))
    # 5/4, 3/2 and 5/4.
    assert (throughput["low"], throughput["high"]) == pytest.approx((1.25, 1.5))
    assert scenario["policies"][OWN]["total_throughput_ratio"]["high"] == pytest.approx(2.5)


def test_a_round_in_which_something_else_held_the_machine_does_not_count(tmp_path: Path) -> None:
    slow_alone = [
        fixture.phase("alone", 100.0, ("c",)),
        *(fixture.seen("alone", "c", 100.0 + place, 0.11) for place in range(10)),
    ]
    calm = [line for line in EVERYTHING if not isinstance(line, Pause)]
    slow = [*slow_alone, *lines(OWN, 0.9, 1), *lines(REFERENCE, 0.1, 1), *lines(MIRIAM, 0.1, 1)]
    slow += pauses(OWN, 0.5)
    content = [*EVERYTHING, *in_round(1, calm), *in_round(2, slow), *in_round(3, calm)]
    written(tmp_path, content)
    write_suite_report(tmp_path)
    summary = orjson.loads((tmp_path / SUMMARY).read_bytes())
    assert summary["left_out"] == [
        {"scenario": fixture.SCENARIO, "round": 2, "task": "c", "slower": pytest.approx(2.2)}
    ]
    assert summary["rounds"] == 3
    (scenario,) = summary["scenarios"]
    assert scenario["advantage"]["latency"]["low"] == pytest.approx(1.25)
    assert scenario["policies"][OWN]["pause_p99_s"] < 0.01
    text = (tmp_path / REPORT).read_text()
    assert "**round 3 of tiny left out**: `c` alone took 2.2 times" in text


def test_two_rounds_cannot_tell_which_of_them_was_disturbed(tmp_path: Path) -> None:
    slow_alone = [
        fixture.phase("alone", 100.0, ("c",)),
        *(fixture.seen("alone", "c", 100.0 + place, 0.5) for place in range(10)),
    ]
    records = written(tmp_path, [*EVERYTHING, *in_round(1, slow_alone)])
    assert disturbed_rounds(records) == ()


def test_no_advantage_over_who_was_not_measured(tmp_path: Path) -> None:
    content = [*fixture.lines_alone(), *lines(OWN, 0.06, 4), *lines(REFERENCE, 0.1, 1)]
    (scenario,) = summarise_suite(written(tmp_path, content))["scenarios"]
    assert scenario["advantage"] is None
    assert advantage(scenario) is None


def test_a_pause_is_held_against_a_tile(tmp_path: Path) -> None:
    def bar(content: list[Line]) -> Any:
        records = written(tmp_path, content)
        bars = {one.figure: one for one in judge_suite(records.header, summarise_suite(records))}
        return bars["pause p99 in s"]

    met = bar(EVERYTHING)
    assert met.value == pytest.approx(0.00298)
    assert met.limit == pytest.approx(0.0035)  # a tile and 1 ms
    assert met.met
    assert not bar([*EVERYTHING, *pauses(OWN, *[0.004] * 9)]).met
    without = [line for line in EVERYTHING if not isinstance(line, Pause)]
    assert bar(without).value is None
    assert not bar(without).met


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": 0.95 * value, "high": 1.05 * value}


def scenario(name: str, slowdown: float, ratio: float) -> dict[str, Any]:
    def figures(slowdown: float, ratio: float) -> dict[str, Any]:
        task = {"criticality": "critical", "slowdown_p99": {"value": slowdown}}
        return {"tasks": {"c": task}, "total_throughput_ratio": {"value": ratio}}

    return {
        "name": name,
        "tile_p99_s": None,
        "policies": {OWN: figures(slowdown, ratio), MIRIAM: figures(1.2, 2.0)},
        "advantage": {
            "latency": interval(1.2 / slowdown),
            "throughput": interval(ratio / 2.0),
        },
    }


def judged(*scenarios: dict[str, Any], kind: str = "opencl", arrivals: str = "periodic") -> Any:
    summary = {"suite": "mdtb", "component": {"kind": kind}, "scenarios": scenarios}
    tasks = [{"criticality": "critical", "arrivals": {"kind": arrivals}}]
    described = [{"name": one["name"], "tasks": tasks} for one in scenarios]
    return {
        (bar.scenario, bar.figure): bar for bar in judge_suite({"scenarios": described}, summary)
    }


def test_over_all_workloads_both_advantages_count_and_none_may_be_missing() -> None:
    four = [scenario(f"mdtb-{letter}", 1.1, 2.2) for letter in "abcd"]
    bars = judged(*four)
    assert bars["all", "latency advantage over miriam"].value == pytest.approx(1.2 / 1.1)
    assert bars["all", "throughput advantage over miriam"].value == pytest.approx(1.1)
    assert all(bar.met for bar in bars.values())
    partial = judged(*four[:3])
    assert partial["all", "latency advantage over miriam"].value is None
    assert not partial["all", "latency advantage over miriam"].met


def test_a_workload_that_is_worse_on_one_figure_misses_its_bar() -> None:
    better, worse = (
        ("mdtb-a", f"{which} advantage over miriam{end}")
        for which, end in (("better", ""), ("worse", ", upper end"))
    )
    bars = judged(scenario("mdtb-a", 1.3, 3.0))
    assert not bars[worse].met
    assert bars[better].met
    # 1.2 over 1.25 may be 1: such windows do not tell.
    unclear = judged(scenario("mdtb-a", 1.25, 3.0))
    assert unclear[worse].value == pytest.approx(1.05 * 1.2 / 1.25)
    assert unclear[worse].met
    # But where neither is better, there is nothing to weigh against it.
    assert not judged(scenario("mdtb-a", 1.25, 1.98))[better].met


def test_bars_of_cuda_leave_closed_loops_out() -> None:
    one = scenario("mdtb-b", 1.04, 1.9)
    bars = judged(one, kind="cuda")
    assert bars["mdtb-b", "critical slowdown p99"].met
    assert not bars["mdtb-b", "total throughput / sequential"].met
    assert ("mdtb-b", "critical slowdown p99") not in judged(
        one, kind="cuda", arrivals="closed-loop"
    )
    assert ("mdtb-b", "critical slowdown p99") not in judged(one)


def test_the_frontier_has_a_point_for_each_policy_that_was_measured_whole(tmp_path: Path) -> None:
    content = [
        one for one in EVERYTHING if getattr(one, "task", None) != "c" or one.policy != MIRIAM
    ]
    summary = summarise_suite(written(tmp_path, content))
    found = {one.policy: one for one in points(summary["scenarios"][0])}
    assert set(found) == {OWN, REFERENCE}
    assert (found[OWN].slowdown, found[OWN].ratio) != (found[REFERENCE].slowdown, 1.0)


def test_the_report_says_what_was_skipped_and_how_rates_were_scaled(tmp_path: Path) -> None:
    written(tmp_path, EVERYTHING)
    write_suite_report(tmp_path)
    text = (tmp_path / REPORT).read_text()
    assert "**skipped mdtb-c**: zoo:gru: no loops" in text
    assert "the published ones times 0.25" in text
    assert "`c` 50 ms" in text
    assert "| cotenant | 1.200 | 1.200 | 2.500" in text
    for picture in (PICTURE, FRONTIER):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
        assert f"]({picture})" in text


def test_the_same_records_make_the_same_bytes(tmp_path: Path) -> None:
    content = []
    for _ in range(2):
        written(tmp_path, EVERYTHING)
        write_suite_report(tmp_path)
        content.append(
            [(tmp_path / name).read_bytes() for name in (SUMMARY, REPORT, PICTURE, FRONTIER)]
        )
    assert content[0] == content[1]


def test_a_run_in_which_everything_was_skipped_still_says_why(tmp_path: Path) -> None:
    written(tmp_path, [], scenarios=[])
    assert write_suite_report(tmp_path) == ()
    assert "no loops" in (tmp_path / REPORT).read_text()
    assert orjson.loads((tmp_path / SUMMARY).read_bytes())["scenarios"] == []
