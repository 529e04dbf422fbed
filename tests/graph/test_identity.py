"""What a graph is known by: the same after a restart, another one as soon as the file is."""

import json

import pytest

from cotenant.core.errors import ModelError
from cotenant.graph import identity
from cotenant.graph.identity import graph_hash
from tests.models import scale_model, slow_model


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    monkeypatch.setenv("COTENANT_CACHE", str(tmp_path / "cache"))


def restart():
    identity._memory.cache_clear()


def test_a_graph_that_was_read_once_is_known_after_a_restart_without_reading(tmp_path, monkeypatch):
    path = scale_model(tmp_path)
    known = graph_hash(str(path))
    restart()
    monkeypatch.setattr(identity, "_read", lambda reference: pytest.fail("it was read again"))
    assert graph_hash(str(path)) == known


def test_a_file_that_has_changed_is_read_again(tmp_path):
    path = scale_model(tmp_path)
    before = graph_hash(str(path))
    path.write_bytes(slow_model(tmp_path, 16, 2).read_bytes())
    assert graph_hash(str(path)) != before
    restart()
    assert graph_hash(str(path)) != before


@pytest.mark.parametrize("noted", ["", "[1]", '{"a": 3}', '{"a": ["x", 1]}', "\x00"])
def test_a_memory_that_makes_no_sense_is_none(tmp_path, noted):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "graphs.json").write_text(noted)
    restart()
    path = scale_model(tmp_path)
    known = graph_hash(str(path))
    assert json.loads((tmp_path / "cache" / "graphs.json").read_text())[str(path)][-1] == known


def test_where_nothing_can_be_kept_the_answer_is_the_same(tmp_path):
    path = scale_model(tmp_path)
    known = graph_hash(str(path))
    (tmp_path / "cache" / "graphs.json").unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("no folder")
    restart()
    assert graph_hash(str(path)) == known


def test_a_file_that_is_gone_is_an_error_although_it_was_known(tmp_path):
    path = scale_model(tmp_path)
    graph_hash(str(path))
    path.unlink()
    with pytest.raises(ModelError, match="there is no model file"):
        graph_hash(str(path))
