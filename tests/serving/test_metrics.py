"""What Prometheus and Triton's statistics say about a known set of records."""

from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from cotenant.core.errors import WorkloadError
from cotenant.core.record import Outcome, Record
from cotenant.serving.metrics import Metrics
from cotenant.serving.records_file import RecordsFile
from cotenant.serving.statistics import Statistics
from tests.serving.fake_runtime import FakeRuntime
from tests.serving.served import Served, Wire


def _record(outcome: Outcome = Outcome.OK, **changes: object) -> Record:
    ran = outcome is Outcome.OK
    record = Record(
        id=1,
        task="pair",
        critical=True,
        outcome=outcome,
        arrival_s=10.0,
        start_s=10.001 if ran else None,
        end_s=10.011,
        component="cpu",
        width=2,
        batch=1 if ran else 0,
        segments=((10.001, 10.011),) if ran else (),
        alone=ran,
        rows=1,
        batch_rows=1 if ran else 0,
    )
    return record._replace(**changes)


def _samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Values by name and by the label that tells series of one model apart."""
    return {
        (sample.name, sample.labels.get("outcome") or sample.labels.get("le") or ""): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.labels.get("model") == "pair"
    }


def test_records_become_metrics() -> None:
    statistics = Statistics()
    metrics = Metrics(FakeRuntime(), statistics)
    for record in (
        _record(),
        _record(end_s=10.021, alone=False),
        _record(Outcome.TIMED_OUT),
    ):
        metrics(record)
        statistics(record)
    samples = _samples(metrics)
    assert samples["cotenant_requests_total", "ok"] == 2
    assert samples["cotenant_requests_total", "timed-out"] == 1
    assert samples["cotenant_latency_seconds_count", ""] == 2
    assert samples["cotenant_latency_seconds_sum", ""] == pytest.approx(0.032)
    assert samples["cotenant_queue_seconds_sum", ""] == pytest.approx(0.002)
    # Alone it took 11 ms; the second request took 21.
    assert samples["cotenant_slowdown_sum", ""] == pytest.approx(1 + 21 / 11)
    assert samples["cotenant_slowdown_bucket", "1.5"] == 1
    assert samples["cotenant_queue_depth", ""] == 7
    assert samples["cotenant_lane_restarts_total", ""] == 3
    assert samples["cotenant_slowdown_now", ""] == 1.02
    assert samples["cotenant_ready", ""] == 1
    assert samples["cotenant_inferences_total", ""] == 2
    assert samples["cotenant_executions_total", ""] == 2
    assert samples["cotenant_compute_infer_seconds_total", ""] == pytest.approx(0.03)


_SPAN_S = st.floats(0.0, 10.0)


@st.composite
def _launches(draw: st.DrawFn) -> list[list[Record]]:
    """Launches of one model: the records of those that ran together."""
    launches = []
    for rows in draw(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), max_size=8)):
        start_s, run_s, end_s = np.cumsum([draw(_SPAN_S) for _ in range(3)]).tolist()
        output_s = draw(_SPAN_S)
        launches.append(
            [
                _record(
                    arrival_s=start_s - draw(_SPAN_S),
                    start_s=start_s,
                    end_s=end_s,
                    segments=((run_s, end_s),),
                    batch=len(rows),
                    rows=own,
                    batch_rows=sum(rows),
                    output_s=output_s,
                )
                for own in rows
            ]
        )
    return launches


@given(_launches())
def test_statistics_mean_what_tritons_mean(launches: list[list[Record]]) -> None:
    statistics = Statistics()
    for record in (one for launch in launches for one in launch):
        statistics(record)
    stats = statistics.describe("pair", "1")
    requests = [one for launch in launches for one in launch]
    assert stats["inference_count"] == sum(one.rows for one in requests)
    assert stats["execution_count"] == len(launches)
    parts = stats["inference_stats"]
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert parts[part]["count"] == len(requests)
    # What it waited, and was copied, and ran, and was copied back, is all that happened to it.
    spent_ns = sum(one.end_s + one.output_s - one.arrival_s for one in requests) * 1e9
    assert parts["success"]["ns"] == pytest.approx(spent_ns, abs=1e3, rel=1e-6)
    sizes = [one["batch_size"] for one in stats["batch_stats"]]
    assert sizes == sorted({launch[0].batch_rows for launch in launches})
    for one in stats["batch_stats"]:
        of_size = [launch[0] for launch in launches if launch[0].batch_rows == one["batch_size"]]
        for part, spans_s in (
            ("compute_input", [ran.segments[0][0] - (ran.start_s or 0.0) for ran in of_size]),
            ("compute_infer", [ran.end_s - ran.segments[0][0] for ran in of_size]),
            ("compute_output", [ran.output_s for ran in of_size]),
        ):
            assert one[part]["count"] == len(of_size)
            assert one[part]["ns"] == pytest.approx(sum(spans_s) * 1e9, abs=1e3, rel=1e-6)


def test_what_failed_is_counted_apart() -> None:
    statistics = Statistics()
    statistics(_record(Outcome.REJECTED))
    statistics(_record(Outcome.FAILED, start_s=10.0, batch=1, batch_rows=1))
    stats = statistics.describe("pair", "1")
    assert (stats["inference_count"], stats["execution_count"], stats["batch_stats"]) == (0, 0, [])
    assert stats["inference_stats"]["fail"] == {"count": 2, "ns": 22_000_000}
    statistics(_record())
    assert statistics.describe("pair", "1")["last_inference"] > 1e12


def test_the_metrics_port(server: Served) -> None:
    with Wire(server.ports.metrics) as wire:
        reply = wire.ask("GET", "/metrics")
        assert (reply.status, reply.headers["content-type"][:10]) == (200, "text/plain")
        assert b"cotenant_queue_depth" in reply.body
        assert wire.ask("GET", "/").status == 404
        assert wire.ask("POST", "/metrics").status == 405


def test_records_go_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    for identifier in (1, 2):
        # A second server appends.
        file = RecordsFile(path)
        file(_record(id=identifier))
        file.close()
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["id"] for line in lines] == [1, 2]
    assert Record(**lines[0])._replace(segments=((10.001, 10.011),)) == _record()
    with pytest.raises(WorkloadError, match="cannot write records"):
        RecordsFile(tmp_path / "none" / "records.jsonl")


def test_a_full_disk_costs_records_not_requests(caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    file = RecordsFile(full)
    for _ in range(3):
        file(_record())
        file.flush()
    assert caplog.text.count("no more records") == 1
    file.close()


def test_pauses_of_elastic_components_are_told() -> None:
    text = Metrics(FakeRuntime(), Statistics()).exposition().decode()
    samples = {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "cotenant_pause_seconds"
    }
    assert samples[("gpu0", "0.5")] == pytest.approx(0.002)
    assert samples[("gpu0", "0.99")] == pytest.approx(0.00298)
    assert len(samples) == 2, "a component without pauses has no quantiles"
