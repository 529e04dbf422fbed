"""What is folded computes what it computed, and what does not hang on shapes alone stays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cotenant.compiler.bind import bind_inputs
from cotenant.compiler.fold import fold_shapes

node = helper.make_node
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])
SUM = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])


def model_of(
    nodes: Sequence[NodeProto], outputs: Sequence[onnx.ValueInfoProto] = (Y,), **constants: Any
) -> onnx.ModelProto:
    """A graph over x: [rows, columns], both free."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "columns"])],
        outputs,
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def folded(model: onnx.ModelProto, rows: int = 4, columns: int = 6) -> onnx.ModelProto:
    """The folded model, which is held against the first on drawn inputs."""
    made = fold_shapes(model, bind_inputs(model, {"x": (rows, columns)}, 1))
    onnx.checker.check_model(made)
    x = np.random.default_rng(0).standard_normal((rows, columns), np.float32)
    for found, wanted in zip(run(made, x), run(model, x), strict=True):
        np.testing.assert_array_equal(found, wanted)
    return made


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def kinds(model: onnx.ModelProto) -> list[str]:
    return [one.op_type for one in model.graph.node]


HALVES = [
    node("Shape", ["x"], ["s"]),
    node("Identity", ["s"], ["same"]),
    node("Gather", ["same", "last"], ["length"]),
    node("Cast", ["length"], ["real"], to=TensorProto.FLOAT),
    node("Div", ["real", "two"], ["half"]),
    node("Floor", ["half"], ["down"]),
    node("Cast", ["down"], ["whole"], to=TensorProto.INT64),
    node("Concat", ["any", "whole"], ["into"], axis=0),
    node("Reshape", ["x", "into"], ["r"]),
]
"""Rows of half the length; lengths go through real numbers, as exporters have it."""
CONSTANTS = {"last": [1], "two": np.float32([2]), "any": [-1]}


def test_lengths_become_constants() -> None:
    made = folded(model_of([*HALVES, node("Relu", ["r"], ["y"])], **CONSTANTS))
    assert kinds(made) == ["Reshape", "Relu"]
    (into,) = (one for one in made.graph.initializer if one.name == "into")
    assert numpy_helper.to_array(into).tolist() == [-1, 3]


def test_what_is_settled_settles_the_next() -> None:
    again = [
        node("Relu", ["r"], ["q"]),
        node("Shape", ["q"], ["t"]),
        node("ConstantOfShape", ["t"], ["ones"], value=numpy_helper.from_array(np.float32([1]))),
        node("Add", ["q", "ones"], ["y"]),
    ]
    assert kinds(folded(model_of([*HALVES, *again], **CONSTANTS))) == ["Reshape", "Relu", "Add"]


def test_parts_of_a_shape() -> None:
    nodes = [
        node("Shape", ["x"], ["s"], start=-1),
        node("Shape", ["x"], ["t"], end=1),
        node("Concat", ["s", "t"], ["turned"], axis=0),
        node("Reshape", ["x", "turned"], ["y"]),
    ]
    assert kinds(folded(model_of(nodes))) == ["Reshape"]


def test_an_output_keeps_its_node() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("ReduceProd", ["s"], ["n"], keepdims=0),
        node("Relu", ["x"], ["y"]),
    ]
    product = helper.make_tensor_value_info("n", TensorProto.INT64, [])
    assert kinds(folded(model_of(nodes, [Y, product]))) == ["ReduceProd", "Relu"]


def test_a_graph_without_shapes_stays_as_it_is() -> None:
    model = model_of([node("Add", ["one", "one"], ["two"]), node("Mul", ["x", "two"], ["y"])],
                     one=np.float32(1))  # fmt: skip
    assert fold_shapes(model, bind_inputs(model, {"x": (4, 6)}, 1)) is model


def test_what_hangs_on_values_stays() -> None:
    nodes = [
        node("NonZero", ["x"], ["z"]),  # its length is that of what is found
        node("Shape", ["z"], ["s"]),
        node("Cast", ["s"], ["real"], to=TensorProto.FLOAT),
        node("ReduceSum", ["real"], ["y"], keepdims=0),
    ]
    assert kinds(folded(model_of(nodes, [SUM]))) == [one.op_type for one in nodes]


@pytest.mark.parametrize(
    "extra",
    [
        node("RandomNormal", [], ["e"], shape=[4, 6]),
        node("ConstantOfShape", ["large"], ["e"]),
    ],
)
def test_nothing_is_drawn_and_nothing_becomes_large(extra: NodeProto) -> None:
    nodes = [node("Shape", ["x"], ["s"]), extra, node("ReduceSum", ["e"], ["y"], keepdims=0)]
    shape = helper.make_tensor_value_info("n", TensorProto.INT64, [2])
    model = model_of([*nodes, node("Identity", ["s"], ["n"])], [SUM, shape], large=[100, 100])
    made = fold_shapes(model, bind_inputs(model, {"x": (4, 6)}, 1))
    assert kinds(made) == [extra.op_type, "ReduceSum", "Identity"]


def test_an_inner_graph_reads_what_was_folded() -> None:
    def branch(name: str, made: NodeProto) -> onnx.GraphProto:
        return helper.make_graph(
            [made], name, [], [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)]
        )

    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "last"], ["length"]),
        node("Greater", ["length", "last"], ["wide"]),
        node("Squeeze", ["wide"], ["is"]),
        node(
            "If",
            ["is"],
            ["y"],
            then_branch=branch("a", node("Expand", ["two", "length"], ["o"])),
            else_branch=branch("b", node("Identity", ["two"], ["o"])),
        ),
    ]
    row = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a"])
    made = folded(model_of(nodes, [row], last=[1], two=np.float32([2])))
    assert kinds(made) == ["If"]
