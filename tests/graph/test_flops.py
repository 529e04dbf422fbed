"""Operations per operator, against counting what the definition of the operator does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from cotenant.graph.flops import node_flops
from cotenant.graph.shapes import TensorType

LENGTHS = st.integers(1, 5)


def types(**shapes: tuple[int, ...]) -> dict[str, TensorType]:
    return {name: TensorType(TensorProto.FLOAT, shape) for name, shape in shapes.items()}


@st.composite
def matrices(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that `matmul` takes: vectors, matrices, and batches that broadcast."""
    inner = draw(LENGTHS)
    outer = draw(st.lists(LENGTHS, max_size=3))
    left = outer[draw(st.integers(0, len(outer))) :]
    right = [draw(st.sampled_from([1, length])) for length in outer]
    return (
        draw(st.sampled_from([(inner,), (*left, draw(LENGTHS), inner)])),
        draw(st.sampled_from([(inner,), (*right, inner, draw(LENGTHS))])),
    )


@given(matrices())
def test_matmul(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    left, right = shapes
    product = np.matmul(np.zeros(left), np.zeros(right))
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    assert node_flops(node, types(a=left, b=right)) == 2 * product.size * left[-1]


@pytest.mark.parametrize("flip", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemm(flip: tuple[int, int]) -> None:
    left, right = [(2, 3), (3, 2)][flip[0]], [(3, 5), (5, 3)][flip[1]]
    node = helper.make_node("Gemm", ["a", "b"], ["y"], transA=flip[0], transB=flip[1])
    assert node_flops(node, types(a=left, b=right)) == 2 * 2 * 3 * 5


def test_convolutions_forward_and_back() -> None:
    # The transposed convolution is the other one's adjoint: the same products in another order.
    wide, narrow, kernel = (1, 4, 9, 9), (1, 6, 4, 4), (6, 2, 3, 3)
    conv = helper.make_node("Conv", ["a", "w"], ["y"], group=2, strides=[2, 2])
    back = helper.make_node("ConvTranspose", ["a", "w"], ["y"], group=2, strides=[2, 2])
    expected = 2 * (6 * 4 * 4) * (2 * 3 * 3)
    assert node_flops(conv, types(a=wide, w=kernel, y=narrow)) == expected
    assert node_flops(back, types(a=narrow, w=kernel, y=wide)) == expected


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_layers(kind: str, gates: int, directions: int) -> None:
    steps, rows, features, hidden = 7, 2, 3, 5
    node = helper.make_node(kind, ["a", "w", "r"], ["y"], hidden_size=hidden)
    shapes = types(
        a=(steps, rows, features),
        w=(directions, gates * hidden, features),
        r=(directions, gates * hidden, hidden),
    )
    products = steps * rows * directions * gates * hidden * (features + hidden)
    assert node_flops(node, shapes) == 2 * products


def test_unknown_axes_count_as_one_and_unknown_tensors_as_nothing() -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    known = {"b": TensorType(TensorProto.FLOAT, (4, 5))}
    assert node_flops(node, known | {"a": TensorType(TensorProto.FLOAT, ("n", None, 4))}) == 40
    assert node_flops(node, known | {"a": TensorType(TensorProto.FLOAT, None)}) == 0
    assert node_flops(node, known) == 0
    assert node_flops(helper.make_node("Relu", ["a"], ["y"]), known) == 0
