"""Cutting graphs that exporters write and the zoo does not have."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cotenant.core.errors import ModelError
from cotenant.graph.cache import intact
from cotenant.graph.chain import chain_of
from cotenant.graph.partition import cut
from cotenant.graph.read import read_model
from tests.graph.conftest import Arrays, Run
from tests.graph.test_partition import in_turn

RNG = np.random.default_rng(3)
node = helper.make_node


def model_of(
    nodes: list[NodeProto], weights: dict[str, np.ndarray], outputs: tuple[str, ...] = ("y",)
) -> ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "unusual",
        [value("x", TensorProto.FLOAT, ["rows", 40])],
        [value(name, TensorProto.FLOAT, ["m", "n"]) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])


def square() -> np.ndarray:
    return RNG.standard_normal((40, 40), dtype=np.float32) / 6


def check_in_turn(path: Path, parts: int, run: Run) -> None:
    inputs: Arrays = {"x": RNG.standard_normal((3, 40), dtype=np.float32)}
    whole = run(path, inputs)
    tensors = in_turn(cut(path, parts, path.parent / "cut"), inputs, run)
    for name, expected in whole.items():
        np.testing.assert_array_equal(tensors[name], expected, strict=True)


def test_inner_graphs_read_tensors_of_the_outer_one(tmp_path: Path, run: Run) -> None:
    # Only the branches read `a` and the weight `v`; both must reach the segment of the `If`.
    branches = {
        "then_branch": helper.make_graph(
            [node("Add", ["a", "c"], ["t"])], "t", [], [onnx.ValueInfoProto(name="t")]
        ),
        "else_branch": helper.make_graph(
            [node("MatMul", ["a", "v"], ["e"])], "e", [], [onnx.ValueInfoProto(name="e")]
        ),
    }
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("MatMul", ["x", "v"], ["b"]),
        node("MatMul", ["b", "w"], ["c"]),
        node("ReduceSum", ["c"], ["s"], keepdims=0),
        node("Cast", ["s"], ["is"], to=TensorProto.BOOL),
        node("If", ["is"], ["i"], **branches),
        node("MatMul", ["i", "w"], ["y"]),
    ]
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, {"w": square(), "v": square()}), path)
    chain = chain_of(read_model(path))
    assert chain.last_read_at["a"] == chain.last_read_at["v"] == 5
    for parts in range(2, len(chain.cuts) + 2):
        check_in_turn(path, parts, run)


def test_constants_do_not_cross(tmp_path: Path, run: Run) -> None:
    # Exporters put constants first; a segment has its own copy of those that it reads.
    half = numpy_helper.from_array(np.float32(0.5), "half")
    nodes = [
        node("Constant", [], ["half"], value=half),
        node("MatMul", ["x", "w"], ["a"]),
        node("Mul", ["a", "half"], ["b"]),
        node("MatMul", ["b", "w"], ["c"]),
        node("Mul", ["c", "half"], ["y"]),
    ]
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, {"w": square()}), path)
    check_in_turn(path, 2, run)
    assert [segment.inputs for segment in cut(path, 2, tmp_path)] == [("x",), ("b",)]


def test_result_in_the_middle_and_tensor_that_skips_a_segment(tmp_path: Path, run: Run) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("MatMul", ["a", "w"], ["b"]),
        node("MatMul", ["b", "w"], ["c"]),
        node("MatMul", ["c", "v"], ["d"]),
        node("Concat", ["a", "d", "x"], ["y"], axis=1),
    ]
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, {"w": square(), "v": square()}, ("b", "y")), path)
    check_in_turn(path, 4, run)
    first, *_, last = cut(path, 4, tmp_path)
    assert first.outputs == ("a",)
    assert last.inputs == ("x", "a", "c")


def test_quantised_operators_stay_with_their_scales(tmp_path: Path, run: Run) -> None:
    # A runtime computes DequantizeLinear -> MatMul -> QuantizeLinear in integers if it sees all.
    nodes, signal = [], "x"
    for layer in range(3):
        nodes += [
            node("QuantizeLinear", [signal, "scale", "zero"], [f"q{layer}"]),
            node("DequantizeLinear", [f"q{layer}", "scale", "zero"], [f"d{layer}"]),
            node("DequantizeLinear", ["w", "scale", "zero"], [f"w{layer}"]),
            node("MatMul", [f"d{layer}", f"w{layer}"], [f"m{layer}"]),
        ]
        signal = f"m{layer}"
    nodes.append(node("Identity", [signal], ["y"]))
    weights = {
        "w": RNG.integers(0, 255, (40, 40)).astype(np.uint8),
        "scale": np.array(0.02, np.float32),
        "zero": np.array(128, np.uint8),
    }
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, weights), path)
    chain = chain_of(read_model(path))
    assert chain.cuts, "there is nothing to test"
    for position in chain.cuts:
        assert chain.nodes[position].op_type == "DequantizeLinear"
    check_in_turn(path, len(chain.cuts) + 1, run)


def test_external_weights_move_into_the_segments(tmp_path: Path, run: Run) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("MatMul", ["a", "v"], ["b"]),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    path = tmp_path / "m.onnx"
    model = model_of(nodes, {"w": square(), "v": square()})
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert path.stat().st_size < 1000
    check_in_turn(path, 3, run)
    before = cut(path, 3, tmp_path / "cut")
    stored = tmp_path / "weights.bin"
    stored.write_bytes(stored.read_bytes()[::-1])
    assert cut(path, 3, tmp_path / "cut") != before, "the key must depend on the weights, too"


def test_damaged_segment_is_made_again(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "m.onnx"
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    onnx.save(model_of(nodes, {"w": square()}), path)
    segments = cut(path, 2, tmp_path / "cut")
    segments[1].path.write_bytes(b"")
    check_in_turn(path, 2, run)
    assert all(intact(segment.path) for segment in segments)


def test_output_that_nothing_computes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(model_of([node("Identity", ["x"], ["y"])], {"w": square()}, ("y", "w")), path)
    with pytest.raises(ModelError, match=r"output 'w' .* is a constant or an input"):
        cut(path, 2, tmp_path)


def test_minus_one_as_a_length_is_an_unknown_length(tmp_path: Path) -> None:
    model = model_of([node("MatMul", ["x", "w"], ["y"])], {"w": square()})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    assert chain_of(read_model(path)).work == (2 * 40 * 40 + 40,)
