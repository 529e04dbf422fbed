"""Model folders in Triton's layout, and loading from them over the wire."""

import asyncio
import logging
import shutil
from pathlib import Path

import pytest

from cotenant.core.errors import ModelError, NotFound, WorkloadError
from cotenant.core.task import Criticality
from cotenant.serving.repository import Follower, Repository
from tests.serving.fake_runtime import FakeRuntime
from tests.serving.served import Wire, served

CONFIG = """
name: "cam"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching {
  max_queue_delay_microseconds: 500
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy { default_timeout_microseconds: 250000 max_queue_size: 16 }
}
parameters { key: "criticality" value { string_value: "critical" } }
parameters { key: "slo" value { string_value: "40ms" } }
parameters { key: "slo_quantile" value { string_value: "0.95" } }
parameters: { key: "priority", value: { string_value: "5" } }
"""


def _put(root: Path, name: str, config: str = "", versions: tuple[str, ...] = ("1",)) -> Path:
    folder = root / name
    for version in versions:
        (folder / version).mkdir(parents=True, exist_ok=True)
        (folder / version / "model.onnx").write_bytes(b"model")
    if config:
        (folder / "config.pbtxt").write_text(config, encoding="utf-8")
    return folder


def test_a_configuration_becomes_a_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _put(tmp_path, "cam", CONFIG)
    task, version = Repository([tmp_path]).find("cam")
    assert not caplog.records
    assert (task.criticality, task.priority, version) == (Criticality.CRITICAL, 5, "1")
    assert task.slo is not None
    assert (task.slo.latency_s, task.slo.quantile) == (0.04, 0.95)
    assert (task.batch.max_size, task.batch.max_delay_s) == (8, 0.0005)
    queue = task.queue
    assert (queue.max_size, queue.timeout_s, queue.priority_levels, queue.default_level) == (
        *(16, 0.25, 3, 2),
    )
    assert task.model == str(tmp_path / "cam" / "1" / "model.onnx")


def test_a_model_needs_no_configuration(tmp_path: Path) -> None:
    _put(tmp_path, "plain")
    task, _ = Repository([tmp_path]).find("plain")
    assert (task.name, task.critical, task.batch.max_size) == ("plain", False, 1)


@pytest.mark.parametrize(
    ("policy", "version"),
    [
        ("", "10"),
        ("version_policy: { latest: { num_versions: 2 } }", "10"),
        ("version_policy: { specific: { versions: [ 2, 9 ] } }", "9"),
    ],
)
def test_the_version_that_is_served(tmp_path: Path, policy: str, version: str) -> None:
    # Numbers, not words: 10 is later than 9. Folders that are no versions are passed over.
    _put(tmp_path, "cam", policy, ("2", "9", "10", "notes", "007"))
    assert Repository([tmp_path]).find("cam")[1] == version


def test_unknown_fields_are_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _put(
        tmp_path,
        "cam",
        'response_cache { enable: true }\nmax_batch_size: 2\nmetric_tags { key: "a" }',
    )
    with caplog.at_level(logging.WARNING):
        task, _ = Repository([tmp_path]).find("cam")
    assert task.batch.max_size == 2
    assert "response_cache" in caplog.text


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("max_batch_size: many", "config.pbtxt: not a valid"),
        ("max_batch_size: 3 }", "config.pbtxt: not a valid"),
        ('name: "other"', "name is 'other'"),
        ('backend: "tensorrt"', "backend 'tensorrt'"),
        ('platform: "pytorch_libtorch"', "'pytorch_libtorch'"),
        ('default_model_filename: "m.onnx"', "there is no file"),
        ("version_policy: { specific: { versions: [ 5 ] } }", "no version"),
        ('parameters { key: "criticality" value { string_value: "hard" } }', "criticality"),
        ('parameters { key: "slo" value { string_value: "40" } }', "slo.latency"),
        ('parameters { key: "width" value { string_value: "two" } }', "write a number"),
        ("max_batch_size: 100000", "batch.max_size"),
    ],
)
def test_a_configuration_that_cannot_be_served(tmp_path: Path, config: str, says: str) -> None:
    _put(tmp_path, "cam", config)
    with pytest.raises(ModelError) as raised:
        Repository([tmp_path]).find("cam")
    assert says in str(raised.value)
    assert "cam" in str(raised.value)


@pytest.mark.parametrize("name", ["none", "..", "../x", ""])
def test_only_folders_of_the_repository_are_models(tmp_path: Path, name: str) -> None:
    root = tmp_path / "models"
    _put(root, "cam")
    _put(tmp_path, "x")
    with pytest.raises(NotFound, match="Request for unknown model"):
        Repository([root]).find(name)


def test_repositories_that_contradict_each_other(tmp_path: Path) -> None:
    for root in ("one", "two"):
        _put(tmp_path / root, "cam")
    with pytest.raises(WorkloadError, match="two repositories"):
        Repository([tmp_path / "one", tmp_path / "two"]).names()
    with pytest.raises(WorkloadError, match="not a folder"):
        Repository([tmp_path / "none"])


def test_load_and_unload_over_the_wire(tmp_path: Path) -> None:
    _put(tmp_path, "cam", CONFIG, ("3",))
    _put(tmp_path, "bad", "max_batch_size: many")
    repository = Repository([tmp_path])
    with served(repository=repository, explicit=True) as one, Wire(one.ports.http) as wire:
        index = wire.ask("POST", "/v2/repository/index").json
        assert {"name": "cam", "version": "", "state": "UNAVAILABLE", "reason": "not loaded"} in (
            index
        )
        assert wire.ask("POST", "/v2/repository/models/cam/load").status == 200
        assert wire.ask("GET", "/v2/models/cam/versions/3/ready").status == 200
        bad = wire.ask("POST", "/v2/repository/models/bad/load")
        assert (bad.status, "failed to load 'bad'" in bad.error) == (400, True)
        unknown = wire.ask("POST", "/v2/repository/models/none/load")
        assert (unknown.status, "Request for unknown model" in unknown.error) == (404, True)
        override = wire.ask(
            "POST", "/v2/repository/models/cam/load", b'{"parameters":{"config":"{}"}}'
        )
        assert (override.status, "failed to load" in override.error) == (501, True)
        assert wire.ask("POST", "/v2/repository/models/cam/unload").status == 200
        assert wire.ask("GET", "/v2/models/cam/ready").status == 503


def test_a_server_starts_with_its_repository(tmp_path: Path) -> None:
    _put(tmp_path, "cam", CONFIG, ("3",))
    with served(repository=Repository([tmp_path]), initial=("cam",)) as one:
        assert one.runtime.served["cam"].version == "3"


def test_followed_folders(tmp_path: Path) -> None:
    for name in ("stays", "goes", "changes"):
        _put(tmp_path, name)
    runtime = FakeRuntime()
    runtime.served.clear()
    template = FakeRuntime().served["double"]
    loaded: list[str] = []

    async def load(task, version):  # type: ignore[no-untyped-def]
        loaded.append(task.name)
        runtime.served[task.name] = template._replace(task=task, version=version)

    runtime.load = load  # type: ignore[method-assign]
    for name in ("stays", "goes", "changes"):
        runtime.served[name] = template
    follower = Follower(Repository([tmp_path]), runtime, ("stays", "goes", "changes"))
    asyncio.run(follower.step())
    assert loaded == []
    for file in sorted((tmp_path / "goes").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (tmp_path / "goes").rmdir()
    _put(tmp_path, "changes", versions=("2",))
    _put(tmp_path, "comes")
    _put(tmp_path, "broken", "max_batch_size: many")
    assert asyncio.run(follower.step())  # they may still be being copied
    assert loaded == []
    assert not asyncio.run(follower.step())
    assert sorted(loaded) == ["changes", "comes"]
    assert runtime.served["goes"].reason == "unloaded"


def test_what_cannot_be_loaded_is_tried_again_and_may_leave(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = FakeRuntime()
    attempts: list[int] = []
    looked = 0

    async def load(task, version):  # type: ignore[no-untyped-def]
        attempts.append(looked)
        raise ModelError("there is no memory for it")

    runtime.load = load  # type: ignore[method-assign]
    follower = Follower(Repository([tmp_path]), runtime, ())

    def look(times: int) -> None:
        nonlocal looked
        for _ in range(times):
            asyncio.run(follower.step())
            looked += 1

    _put(tmp_path, "heavy")
    look(20)
    assert attempts == [1, 3, 6, 11]  # at first, then after 1, 2, 4 looks between
    assert caplog.text.count("failed to load 'heavy'") == 1
    _put(tmp_path, "heavy", versions=("2",))
    look(2)
    assert attempts[4:] == [21]
    shutil.rmtree(tmp_path / "heavy")  # it was never served
    _put(tmp_path, "other")
    look(2)
    assert attempts[5:] == [23]


def test_a_file_that_vanishes_during_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(tmp_path, "cam")
    _put(tmp_path, "dog")
    runtime = FakeRuntime()
    repository = Repository([tmp_path])
    follower = Follower(repository, runtime, ())
    stamp = repository.stamp

    def vanishing(name: str) -> tuple[object, ...]:
        if name == "cam":
            raise FileNotFoundError(name)
        return stamp(name)

    monkeypatch.setattr(repository, "stamp", vanishing)
    asyncio.run(follower.step())
    assert asyncio.run(follower.step())
    assert ("dog" in runtime.served, "cam" in runtime.served) == (True, False)
