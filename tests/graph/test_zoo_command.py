"""`cotenant zoo`: what it lists, what it makes, what it says when a name is wrong."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cotenant.cli.zoo import zoo
from cotenant.graph.zoo import ZOO, zoo_path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COTENANT_CACHE", str(tmp_path))
    return tmp_path


def test_json_lists_everything_and_makes_nothing(cache: Path) -> None:
    answer = CliRunner().invoke(zoo, ["--json"])
    assert answer.exit_code == 0
    entries = {entry["name"]: entry for entry in json.loads(answer.output)}
    assert entries.keys() == ZOO.keys()
    assert not any(entry["cached"] for entry in entries.values())
    assert not list(cache.iterdir())
    vgg19 = entries["vgg19"]
    assert vgg19["inputs"] == {"data_0": ["batch", 3, 224, 224]}
    assert vgg19["outputs"] == {"prob_1": ["batch", 1000]}
    assert vgg19["parameters"] == 143_667_240
    assert round(vgg19["flops"] / 2e9, 2) == 19.63
    assert vgg19["size_bytes"] > 4 * vgg19["parameters"]
    assert vgg19["batchable"]


def test_materialise_makes_what_is_named(cache: Path) -> None:
    answer = CliRunner().invoke(zoo, ["--materialise", "--json", "--seed", "5", "zoo:cifarnet"])
    assert answer.exit_code == 0
    (entry,) = json.loads(answer.stdout)
    assert entry["cached"]
    path = zoo_path("cifarnet", cache, seed=5)
    assert path.stat().st_size == entry["size_bytes"]
    assert [each.name for each in (cache / "zoo").glob("*.onnx")] == [path.name]


def test_table_has_a_row_for_each_name(cache: Path) -> None:
    answer = CliRunner().invoke(zoo, ["gru", "cifarnet"])
    assert answer.exit_code == 0
    header, gru, cifarnet = answer.output.splitlines()
    assert header.split() == [
        *("model", "input", "output", "parameters", "GFLOPs", "file", "batch", "cached")
    ]
    assert "frames batchx25x512" in gru
    assert cifarnet.split()[-2:] == ["any", "no"]


def test_wrong_name_and_bad_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = CliRunner().invoke(zoo, ["squeezenett"])
    assert answer.exit_code == 1
    assert answer.output.startswith("Error: the zoo has no model 'squeezenett'; did you mean")
    (cache / "file").write_bytes(b"")
    monkeypatch.setenv("COTENANT_CACHE", str(cache / "file"))
    answer = CliRunner().invoke(zoo, ["--materialise", "cifarnet"])
    assert answer.exit_code == 1
    assert "set $COTENANT_CACHE" in answer.output
