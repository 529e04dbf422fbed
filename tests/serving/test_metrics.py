"""What Prometheus and Triton's statistics say about a known set of records."""

from pathlib import Path

import orjson
import pytest
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
    metrics = Metrics(FakeRuntime())
    for record in (
        _record(),
        _record(end_s=10.021, alone=False),
        _record(Outcome.TIMED_OUT),
    ):
        metrics(record)
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


def test_a_batch_is_one_execution() -> None:
    statistics = Statistics()
    for _ in range(6):
        statistics(_record(batch=3))
    statistics(_record())
    statistics(_record(Outcome.REJECTED))
    stats = statistics.describe("pair", "1")
    assert (stats["inference_count"], stats["execution_count"]) == (7, 3)
    assert [(one["batch_size"], one["compute_infer"]["count"]) for one in stats["batch_stats"]] == [
        (1, 1),
        (3, 2),
    ]
    assert stats["batch_stats"][1]["compute_infer"]["ns"] == pytest.approx(2 * 0.01e9, rel=1e-6)
    assert stats["inference_stats"]["fail"]["count"] == 1
    assert stats["inference_stats"]["queue"]["ns"] == pytest.approx(7 * 0.001e9, rel=1e-6)
    assert stats["last_inference"] > 1e12


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
    text = Metrics(FakeRuntime()).exposition().decode()
    samples = {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "cotenant_pause_seconds"
    }
    assert samples[("gpu0", "0.5")] == pytest.approx(0.002)
    assert samples[("gpu0", "0.99")] == pytest.approx(0.00298)
    assert len(samples) == 2, "a component without pauses has no quantiles"
