"""Small ONNX files for tests: what they should do goes in, their path comes out."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def scale_model(folder: Path, factor: float = 2.0, name: str = "scale") -> Path:
    """float32 x [n, 4] -> y = factor * x."""
    return _save(
        folder / f"{name}.onnx",
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        {"factor": np.float32(factor)},
    )


def slow_model(folder: Path, size: int = 1000, depth: int = 10, name: str = "slow") -> Path:
    """float32 x [1, size] -> y [1, size] through `depth` square products: tens of milliseconds."""
    rng = np.random.default_rng(0)
    nodes = []
    for level in range(depth):
        nodes.append(
            helper.make_node("MatMul", [f"m{level}" if level else "x", "w"], [f"p{level}"])
        )
        nodes.append(helper.make_node("Tanh", [f"p{level}"], [f"m{level + 1}"]))
    nodes.append(helper.make_node("Identity", [f"m{depth}"], ["y"]))
    return _save(
        folder / f"{name}.onnx",
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", size])],
        {"w": rng.standard_normal((size, size)).astype(np.float32) / size**0.5},
    )


def text_model(folder: Path) -> Path:
    """Strings x [n] -> y, the same strings."""
    value = helper.make_tensor_value_info
    return _save(
        folder / "text.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.STRING, ["n"])],
        [value("y", TensorProto.STRING, ["n"])],
        {},
    )


def sum_model(folder: Path) -> Path:
    """float32 x [n, 4] -> y, one number: it does not batch along axis 0."""
    value = helper.make_tensor_value_info
    return _save(
        folder / "sum.onnx",
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [value("x", TensorProto.FLOAT, ["n", 4])],
        [value("y", TensorProto.FLOAT, [])],
        {},
    )


def _save(path, nodes, inputs, outputs, weights) -> Path:  # type: ignore[no-untyped-def]
    initializers = [
        numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()
    ]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path
