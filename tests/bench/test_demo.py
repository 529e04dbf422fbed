"""The demo's plan, its table while it runs, and a verdict that only repeats the figures."""

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from cotenant.bench.demo import Memo, demo_scenario, verdict
from cotenant.bench.live import LiveTable, sparkline
from cotenant.bench.load import Seen
from cotenant.bench.mixed import round_seconds_s
from cotenant.bench.summary import summarise
from cotenant.cli.bench import bench
from cotenant.core.clock import VirtualClock
from cotenant.core.record import Outcome
from tests.bench import fixture


@pytest.mark.parametrize("seconds", [12.0, 20.0, 60.0])
def test_the_phases_add_up_to_what_was_asked_for(seconds: float) -> None:
    scenario, settings = demo_scenario(seconds)
    total_s = settings.rounds * round_seconds_s(scenario, settings)
    assert total_s == pytest.approx(seconds, rel=0.25)
    assert {task.criticality for task in scenario.workload.tasks} == {"critical", "best-effort"}
    assert len(scenario.workload.tasks) >= 4


def test_a_memo_keeps_what_a_file_would() -> None:
    scenario, settings = demo_scenario(20.0)
    memo = Memo()
    memo.write(fixture.lines_alone())
    memo.write([*fixture.lines_mixed(), *fixture.lines_memory([1]), fixture.line_kill(1.0, None)])
    records = memo.records(scenario, settings, "ordinary")
    assert len(records.phases) == 3
    assert len(records.observations) == 60
    assert (len(records.memory), len(records.kills)) == (1, 1)


def test_the_verdict_is_made_of_the_figures() -> None:
    memo = Memo()
    memo.write([*fixture.lines_alone(), *fixture.lines_mixed()])
    memo.write(fixture.lines_mixed("concurrent"))
    records = memo.records(*demo_scenario(20.0), "ordinary")._replace(header=fixture.header())
    sentence = verdict(summarise(records))
    assert "'c'" in sentence
    assert "3.78 times its p99 alone under cotenant" in sentence
    assert "3.78 times under concurrent" in sentence
    assert "1.00 times as much as under concurrent" in sentence


def test_no_figures_no_verdict() -> None:
    memo = Memo()
    records = memo.records(*demo_scenario(20.0), "ordinary")
    assert verdict(summarise(records)).startswith("Too few answers")


def test_the_live_table_counts_failures_and_late_answers() -> None:
    clock = VirtualClock()
    table = LiveTable(demo_scenario(20.0)[0].workload.tasks, clock)
    table.begin("round 1 of 2, cotenant")
    clock.advance_to(2.0)
    for latency_s, outcome in ((0.01, Outcome.OK), (0.09, Outcome.OK), (0.01, Outcome.FAILED)):
        table.add(Seen("detector", 1.0, 1.0, 1.0 + latency_s, None, outcome))
    assert "detector 1.0/s p50 50.0 ms p99 89.2 ms in time 33%" in table.line()
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table.table())
    assert "▂█" in console.export_text()
    table.begin("next")
    assert table.line() == "next: "


def test_the_table_is_drawn_a_few_times_a_second_at_most() -> None:
    clock = VirtualClock(1.0)
    table = LiveTable(demo_scenario(20.0)[0].workload.tasks, clock)
    drawn = 0
    for place in range(1000):
        clock.advance_to(1.0 + place / 1000.0)
        drawn += table.add(Seen("scene", 0.0, 0.0, 0.01, 200, Outcome.OK))
    assert 3 <= drawn <= 5


def test_sparkline_of_nothing_is_nothing() -> None:
    assert sparkline([], 0.0) == ""
    assert sparkline([2.0], 1.0) == "█"


def test_commands_refuse_what_they_cannot_do(tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(bench, arguments)
        assert result.exit_code != 0
        return result.output

    out = ("--out", str(tmp_path / "out"))
    assert "is neither a file nor one of" in refused("mixed", *out, "--scenario", "nothing")
    bare = tmp_path / "bare.yaml"
    bare.write_text("tasks:\n  - {name: a, model: 'zoo:squeezenet'}\n")
    assert "no arrivals" in refused("mixed", *out, "--scenario", str(bare))
    assert "'fifo' is not one of" in refused("mixed", *out, "--policy", "fifo")
    assert "run the bench first" in refused("report", str(tmp_path))
