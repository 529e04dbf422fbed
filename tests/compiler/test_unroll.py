"""Unrolled recurrent layers compute what the layers compute: ONNX Runtime is the oracle."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from cotenant.compiler.bind import bind_inputs
from cotenant.compiler.unroll import STEPS_MAX, unroll
from cotenant.core.errors import ModelError

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}


def layer(
    kind: str,
    *,
    steps: int = 3,
    rows: int = 2,
    features: int = 4,
    units: int = 5,
    optional: frozenset[str] = frozenset(),
    outputs: tuple[str, ...] = ("y", "h"),
    opset: int = 14,
    seed: int = 0,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one layer with drawn weights; `optional` names the inputs that it has."""
    rng = np.random.default_rng(seed)
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    width = GATES[kind] * units
    state = (rows, ways, units) if attributes.get("layout") else (ways, rows, units)
    shapes = {
        "w": (ways, width, features),
        "r": (ways, width, units),
        "b": (ways, 2 * width),
        "h0": state,
        "c0": state,
        "p": (ways, 3 * units),
    }
    read = ["x", "w", "r"]
    for name in ("b", "lengths", "h0", "c0", "p")[: 5 if kind == "LSTM" else 3]:
        read.append(name if name in optional else "")
    used = [name for name in read if name in shapes]
    weights = [
        numpy_helper.from_array(rng.standard_normal(shapes[n]).astype(np.float32) / 2, n)
        for n in used
    ]
    if "lengths" in optional:
        weights.append(numpy_helper.from_array(np.full(rows, steps, np.int32), "lengths"))
    value = helper.make_tensor_value_info
    first = ["rows", steps] if attributes.get("layout") else [steps, "rows"]
    graph = helper.make_graph(
        [helper.make_node(kind, read, list(outputs), "cell", hidden_size=units, **attributes)],
        "g",
        [value("x", TensorProto.FLOAT, [*first, features])],
        [
            value(name, TensorProto.FLOAT, [None] * (4 if name == "y" else 3))
            for name in outputs
            if name
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def unrolled(model: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    made = unroll(model, bind_inputs(model, {"x": shape}, 1))
    assert not {node.op_type for node in made.graph.node} & GATES.keys()
    onnx.checker.check_model(made)
    return made


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def same(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert [one.shape for one in found] == [one.shape for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        # ONNX Runtime approximates sigmoid and tanh: one of thousands was off by 3e-5.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_layer_equals_its_steps(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(GATES)))
    direction = data.draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    attributes: dict[str, Any] = {"direction": direction}
    steps, rows = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 3))
    squashing = ["Sigmoid", "Tanh", "Softsign"]
    # States of a longer one may overflow, or blow up what two libraries round differently where
    # a gate opens below 0 or beyond 1.
    of_states = squashing if steps >= 4 else [*squashing, "Relu"]
    of_gates = ["Sigmoid"] if steps >= 4 else of_states
    if kind == "GRU":
        attributes["linear_before_reset"] = data.draw(st.integers(0, 1))
    if data.draw(st.booleans()):
        after_gates = [of_states] * (ACTIVATIONS[kind] - 1)
        each_way = [of_states] if kind == "RNN" else [of_gates, *after_gates]
        ways = 2 if direction == "bidirectional" else 1
        attributes["activations"] = [data.draw(st.sampled_from(some)) for some in each_way * ways]
    possible = ["b", "h0", *(["c0", "p"] if kind == "LSTM" else [])]
    names = ["y", "h", *(["c"] if kind == "LSTM" else [])]
    asked = data.draw(st.sets(st.sampled_from(names), min_size=1))
    model = layer(
        kind,
        steps=steps,
        rows=rows,
        features=data.draw(st.integers(1, 6)),
        units=data.draw(st.integers(1, 6)),
        optional=frozenset(data.draw(st.sets(st.sampled_from(possible)))),
        outputs=tuple(name if name in asked else "" for name in names),
        opset=data.draw(st.sampled_from([9, 12, 14])),
        seed=data.draw(st.integers(0, 99)),
        **attributes,
    )
    features = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    x = np.random.default_rng(1).standard_normal((steps, rows, features)).astype(np.float32)
    same(run(unrolled(model, x.shape), x), run(model, x))


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_rows_first(kind: str) -> None:
    """ONNX Runtime lacks this layout, so ONNX's own reference is the oracle."""
    optional = frozenset({"b", "h0"})
    model = layer(kind, optional=optional, layout=1, steps=4, rows=3)
    x = np.random.default_rng(2).standard_normal((3, 4, 4)).astype(np.float32)
    made = unrolled(model, x.shape)
    first = layer(kind, optional=optional, steps=4, rows=3)
    # The same weights, but for the state, which lies the other way.
    tensors = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    turned = np.ascontiguousarray(tensors["h0"].transpose(1, 0, 2))
    for one in first.graph.initializer:
        array = turned if one.name == "h0" else tensors[one.name]
        one.CopyFrom(numpy_helper.from_array(array, one.name))
    whole, last = run(first, np.ascontiguousarray(x.transpose(1, 0, 2)))
    same(run(made, x), [whole.transpose(2, 0, 1, 3), last.transpose(1, 0, 2)])
    same(ReferenceEvaluator(made).run(None, {"x": x}), run(made, x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": 1.0}, "'clip'"),
        ({"activations": ["Elu", "Tanh", "Tanh"]}, "Elu"),
        ({"activations": ["Tanh"]}, "known are 3"),
        ({"optional": frozenset({"lengths"})}, "lengths of its sequences"),
        ({"input_forget": 1}, "input_forget"),
    ],
)
def test_what_no_step_can_express_is_refused(changes: dict[str, Any], message: str) -> None:
    model = layer("LSTM", **changes)
    with pytest.raises(ModelError, match=message) as caught:
        unroll(model, bind_inputs(model, {"x": (3, 2, 4)}, 1))
    assert "LSTM (node 'cell')" in str(caught.value)


def test_a_sequence_that_is_too_long_is_refused() -> None:
    model = layer("GRU", steps=STEPS_MAX + 1)
    with pytest.raises(ModelError, match=f"{STEPS_MAX + 1} steps"):
        unroll(model, bind_inputs(model, {"x": (STEPS_MAX + 1, 1, 4)}, 1))


def test_a_model_without_recurrent_layers_is_left_alone() -> None:
    model = layer("GRU")
    model.graph.node[0].op_type = "Identity"
    assert unroll(model, ()) is model
