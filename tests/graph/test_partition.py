"""Cutting: what the segments give one after the other is what the whole gives."""

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

from cotenant.core.errors import ModelError
from cotenant.graph.chain import Chain, chain_of
from cotenant.graph.partition import Segment, best_cuts, cut
from cotenant.graph.read import read_model
from cotenant.graph.wire import Skeleton
from cotenant.graph.zoo import zoo_path
from tests.graph.conftest import Arrays, Run, session_of
from tests.graph.test_zoo import MODEST

pytestmark = pytest.mark.xdist_group("zoo")


def inputs_of(path: Path) -> Arrays:
    rng = np.random.default_rng(7)
    return {
        put.name: rng.standard_normal([1, *put.shape[1:]], dtype=np.float32)
        for put in session_of(path).get_inputs()
    }


def in_turn(segments: tuple[Segment, ...], inputs: Arrays, run: Run) -> Arrays:
    tensors = dict(inputs)
    for segment in segments:
        outputs = run(segment.path, {name: tensors[name] for name in segment.inputs})
        assert tuple(outputs) == segment.outputs
        assert not outputs.keys() & tensors.keys(), "a tensor is computed twice"
        tensors |= outputs
    return tensors


@pytest.mark.parametrize("name", MODEST)
def test_exact_cuts_change_no_bit(name: str, zoo_cache: Path, tmp_path: Path, run: Run) -> None:
    path = zoo_path(name, zoo_cache)
    inputs = inputs_of(path)
    whole = run(path, inputs)
    most = len(chain_of(read_model(path)).exact_cuts) + 1
    for parts in sorted({min(3, most), most}):
        tensors = in_turn(cut(path, parts, tmp_path), inputs, run)
        for output, expected in whole.items():
            np.testing.assert_array_equal(tensors[output], expected, strict=True)


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_most_cuts_change_rounding_at_most(
    name: str, zoo_cache: Path, tmp_path: Path, run: Run
) -> None:
    path = zoo_path(name, zoo_cache)
    inputs = inputs_of(path)
    chain = chain_of(read_model(path))
    assert set(chain.exact_cuts) < set(chain.cuts)
    tensors = in_turn(cut(path, len(chain.exact_cuts) + 5, tmp_path), inputs, run)
    for output, expected in run(path, inputs).items():
        np.testing.assert_allclose(tensors[output], expected, rtol=1e-3, atol=1e-6)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(parts=st.integers(1, 18), rows=st.integers(1, 2))
def test_any_number_of_parts(
    parts: int, rows: int, zoo_cache: Path, tmp_path: Path, run: Run
) -> None:
    path = zoo_path("squeezenet", zoo_cache)
    segments = cut(path, parts, tmp_path)
    assert len(segments) == parts
    assert cut(path, parts, tmp_path) == segments
    seen = {value.name for value in onnx.load(path).graph.input}
    for segment in segments:
        onnx.checker.check_model(onnx.load(segment.path), full_check=True)
        assert set(segment.inputs) <= seen
        seen |= set(segment.outputs)
    # Whatever leaves a segment is read later or is a result.
    later = {"softmaxout_1"}
    for segment in reversed(segments):
        assert set(segment.outputs) <= later
        later |= set(segment.inputs)
    inputs = {"data_0": np.random.default_rng(rows).random((rows, 3, 224, 224), np.float32)}
    tensors = in_turn(segments, inputs, run)
    (expected,) = run(path, inputs).values()
    np.testing.assert_array_equal(tensors["softmaxout_1"], expected)


@pytest.mark.parametrize("parts", [0, -1, 6, 1000])
def test_impossible_number_of_parts(zoo_cache: Path, tmp_path: Path, parts: int) -> None:
    path = zoo_path("cifarnet", zoo_cache)
    with pytest.raises(ModelError, match=f"cannot be cut into {parts} segments, only into 1 to 5"):
        cut(path, parts, tmp_path)


def test_segments_share_the_work(zoo_cache: Path) -> None:
    chain = chain_of(read_model(zoo_path("resnet50", zoo_cache)))
    first, second = (
        sum(chain.work[start:end])
        for start, end in itertools.pairwise((0, *best_cuts(chain, chain.cuts, 2), None))
    )
    assert 0.9 < first / second < 1.1


def a_chain(work: list[int], crossing_bytes: list[int]) -> Chain:
    node = helper.make_node("Conv", ["x"], ["y"])
    return Chain(
        skeleton=Skeleton(ModelProto(), ()),
        nodes=(node,) * len(work),
        types={},
        written_at={},
        last_read_at={},
        work=tuple(work),
        crossing_bytes=(0, *crossing_bytes[: len(work) - 1], 0),
        exact_cuts=(),
        cuts=tuple(range(1, len(work))),
    )


@given(
    work=st.lists(st.integers(0, 1000), min_size=3, max_size=8),
    crossing_bytes=st.lists(st.integers(0, 100), min_size=7, max_size=7),
    data=st.data(),
)
def test_best_cuts_are_the_best_of_all(
    work: list[int], crossing_bytes: list[int], data: st.DataObject
) -> None:
    chain = a_chain(work, crossing_bytes)
    parts = data.draw(st.integers(2, len(work)))

    def cost(cuts: tuple[int, ...]) -> int:
        return sum(
            (sum(work[a:b]) + 10 * (chain.crossing_bytes[a] + chain.crossing_bytes[b])) ** 2
            for a, b in itertools.pairwise((0, *cuts, len(work)))
        )

    found = best_cuts(chain, chain.cuts, parts)
    assert len(found) == parts - 1
    assert cost(found) == min(map(cost, itertools.combinations(chain.cuts, parts - 1)))
