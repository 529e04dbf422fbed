"""From records to figures: values worked out by hand, schema, bars, the same bytes twice."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from cotenant.bench.bars import judge
from cotenant.bench.figures import samples_by_key
from cotenant.bench.records import Line, Records, RecordWriter, read_records
from cotenant.bench.report import PICTURE, RECORDS, REPORT, SUMMARY, write_report
from cotenant.bench.summary import critical_utilization, summarise
from cotenant.core.errors import WorkloadError
from cotenant.core.record import Outcome
from tests.bench import fixture


def written(folder: Path, lines: list[Line], **changes: Any) -> Records:
    with RecordWriter(folder / RECORDS, fixture.header(**changes)) as writer:
        writer.write(lines)
    return read_records(folder / RECORDS)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return written(tmp_path, fixture.lines_alone() + fixture.lines_mixed())


def test_records_come_back_as_they_were(records: Records) -> None:
    lines = fixture.lines_alone() + fixture.lines_mixed()
    assert [*records.phases, *records.observations] == sorted(
        lines, key=lambda line: type(line).__name__, reverse=True
    )
    assert records.header | {"kind": None} == fixture.header() | {"kind": None}


def test_figures_of_a_critical_task_worked_out_by_hand(records: Records) -> None:
    task = summarise(records)["scenarios"][0]["policies"]["cotenant"]["tasks"]["c"]
    # Answered: eight of 60 ms and one of 200 ms; the warm-up's 9 s stays out.
    assert task["criticality"] == "critical"
    assert task["p50_s"] == pytest.approx(0.060)
    assert task["p95_s"] == pytest.approx(0.06 + 0.6 * 0.14)
    assert task["p99_s"] == pytest.approx(0.06 + 0.92 * 0.14)
    assert task["slowdown_p50"]["value"] == pytest.approx(0.06 / 0.05)
    assert task["slowdown_p99"]["value"] == pytest.approx((0.06 + 0.92 * 0.14) / 0.05)
    assert task["throughput_rps"] == pytest.approx(0.9 + 0.1 * (308.5 - 300.0) / 9.0)
    assert task["goodput_rps"] == pytest.approx(0.8)
    assert task["attainment"] == pytest.approx(0.8)
    assert task["dropped"] == 1


def test_best_effort_ratio_worked_out_by_hand(records: Records) -> None:
    policy = summarise(records)["scenarios"][0]["policies"]["cotenant"]
    # 18 whole answers and half of one in 10 s, against 2/s alone; c leaves 1 - 1/s x 40 ms.
    assert policy["tasks"]["b"]["throughput_rps"] == pytest.approx(1.85)
    ratio = policy["best_effort_ratio"]
    assert ratio["value"] == pytest.approx(1.85 / 2.0 / 0.96)
    assert ratio["low"] <= ratio["value"] <= ratio["high"]


def test_utilization_falls_back_to_what_the_client_saw(records: Records) -> None:
    silent = records._replace(phases=tuple(one._replace(service_s={}) for one in records.phases))
    scenario = records.header["scenarios"][0]
    assert critical_utilization(scenario, samples_by_key(records)) == pytest.approx(0.04)
    assert critical_utilization(scenario, samples_by_key(silent)) == pytest.approx(0.05)


def test_the_schema_of_summary_json(records: Records) -> None:
    summary = orjson.loads(orjson.dumps(summarise(records)))
    assert set(summary) == {"suite", "machine", "versions", "seed", "rounds", "scenarios"}
    (scenario,) = summary["scenarios"]
    assert set(scenario) == {"name", "policies"}
    assert set(scenario["policies"]) == {"cotenant"}
    policy = scenario["policies"]["cotenant"]
    assert set(policy) == {"tasks", "best_effort_ratio"}
    for task in policy["tasks"].values():
        assert set(task) == {
            "criticality",
            "p50_s",
            "p95_s",
            "p99_s",
            "slowdown_p50",
            "slowdown_p99",
            "throughput_rps",
            "goodput_rps",
            "attainment",
            "dropped",
        }
    for interval in (policy["best_effort_ratio"], policy["tasks"]["c"]["slowdown_p99"]):
        assert set(interval) == {"value", "low", "high"}


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.REJECTED, 503),
        (Outcome.TIMED_OUT, 504),
        (Outcome.FAILED, 500),
        (Outcome.FAILED, None),
        (Outcome.CANCELLED, None),
    ],
)
def test_whatever_is_not_answered_well_counts_against_the_task(
    tmp_path: Path, outcome: Outcome, status: int | None
) -> None:
    lost = [
        fixture.seen("cotenant", "c", 300.5 + place, 0.01, (status, outcome)) for place in range(5)
    ]
    records = written(tmp_path, fixture.lines_alone() + fixture.lines_mixed() + lost)
    task = summarise(records)["scenarios"][0]["policies"]["cotenant"]["tasks"]["c"]
    assert task["dropped"] == 6
    assert task["attainment"] == pytest.approx(8 / 15)
    assert task["p50_s"] == pytest.approx(0.060)


def test_a_report_made_again_is_the_same_byte_for_byte(tmp_path: Path, records: Records) -> None:
    files = (SUMMARY, REPORT, PICTURE)
    write_report(tmp_path)
    first = [(tmp_path / name).read_bytes() for name in files]
    for name in files:
        (tmp_path / name).unlink()
    write_report(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in files] == first
    assert first[2].startswith(b"\x89PNG")


def test_bars_of_a_promised_scenario(tmp_path: Path) -> None:
    name = "squeezenet-resnet50"
    lines = [line._replace(scenario=name) for line in fixture.lines_alone() + fixture.lines_mixed()]
    records = written(tmp_path, lines, name=name)
    bars = {bar.figure: bar for bar in judge(records, summarise(records))}
    assert not bars["c slowdown_p50"].met
    assert not bars["c slowdown_p99"].met
    assert bars["best_effort_ratio"].met
    assert bars["c slowdown_p50"].limit == 1.03


def test_bars_of_overload(tmp_path: Path) -> None:
    steady, growing = [100] * 16, [100 + 10 * place for place in range(16)]
    met = {}
    for rss_bytes in (steady, growing):
        lines = [
            *fixture.lines_alone(),
            *fixture.lines_mixed(),
            *fixture.lines_memory(rss_bytes),
            fixture.seen("cotenant", "b", 309.5, 5.0, (None, Outcome.CANCELLED)),
        ]
        records = written(tmp_path, lines, overload=10.0)
        bars = {bar.figure: bar for bar in judge(records, summarise(records))}
        met[tuple(rss_bytes)] = bars["memory growth"].met
    assert met == {tuple(steady): True, tuple(growing): False}
    assert bars["requests without an answer"].value == 1
    assert not bars["requests without an answer"].met
    assert bars["c attainment"].value == pytest.approx(0.8)
    assert not bars["c attainment"].met


def test_bars_of_kill(tmp_path: Path) -> None:
    lines = [
        *fixture.lines_alone(),
        *fixture.lines_mixed(),
        fixture.line_kill(301.0, 302.0),
        fixture.line_kill(304.0, None),
    ]
    records = written(tmp_path, lines, kills=2)
    bars = {bar.figure: bar for bar in judge(records, summarise(records))}
    assert bars["c lost"].value == 1
    assert bars["c later than 1.5 x p99 alone"].value == 1  # 200 ms > 75 ms; 60 ms is not
    assert bars["kills"].met
    assert bars["lanes that came back"].value == 1
    assert not bars["lanes that came back"].met


def test_a_run_that_was_broken_off_still_makes_a_report(tmp_path: Path) -> None:
    written(tmp_path, fixture.lines_mixed())
    write_report(tmp_path)
    summary = orjson.loads((tmp_path / SUMMARY).read_bytes())
    task = summary["scenarios"][0]["policies"]["cotenant"]["tasks"]["c"]
    assert task["slowdown_p50"] is None
    assert task["p50_s"] == pytest.approx(0.060)
    written(tmp_path, [])
    write_report(tmp_path)
    assert orjson.loads((tmp_path / SUMMARY).read_bytes())["scenarios"] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no header"),
        (b'{"kind": "header"}\nnot json\n', ":2: not a line"),
        (b'{"kind": "header"}\n{"kind": "song"}\n', ":2: not a line"),
        (b'{"kind": "header"}\n{"kind": "memory", "rss": 1}\n', ":2: not a line"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / RECORDS).write_bytes(content)
    with pytest.raises(WorkloadError, match=words):
        read_records(tmp_path / RECORDS)
    with pytest.raises(WorkloadError, match="run the bench first"):
        read_records(tmp_path / "missing.jsonl")
