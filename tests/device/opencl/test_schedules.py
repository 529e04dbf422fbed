"""Functions that a rule of the compiler schedules wrongly get another rule, and right results."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.front import lower_model
from cotenant.compiler.program import parse_target
from cotenant.compiler.unit import UnitCache
from cotenant.device.bundle import read_bundle
from cotenant.device.elastic.runner import Runner
from tests.device.elastic.inferences import check_outputs, drawn

pytest.importorskip("tvm", reason="needs TVM: pip install 'cotenant[compile]'")


def grouped_model(folder: Path) -> Path:
    """A convolution in four groups and what normalises it, as ShuffleNet has them."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((136, 34, 1, 1))}
    weights |= {name: rng.uniform(0.5, 1.5, 136) for name in ("scale", "bias", "mean", "variance")}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], group=4, kernel_shape=[1, 1]),
            helper.make_node(
                "BatchNormalization", ["c", "scale", "bias", "mean", "variance"], ["y"]
            ),
        ],
        "grouped",
        [value("x", TensorProto.FLOAT, [1, 136, 14, 14])],
        [value("y", TensorProto.FLOAT, [1, 136, 14, 14])],
        [numpy_helper.from_array(one.astype(np.float32), name) for name, one in weights.items()],
    )
    path = folder / "grouped.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_grouped_convolution_that_is_normalised(tmp_path: Path, place: Any) -> None:
    path, target = grouped_model(tmp_path), parse_target("opencl")
    cache = UnitCache(tmp_path / "units")
    program = lower_model(
        path, target, shapes={}, batch=1, cache=cache, tell=lambda what, done, total: None
    )
    write_bundle(program, "grouped", target, tmp_path / "bundle")
    x = drawn((1, 136, 14, 14))
    runner = Runner(read_bundle(tmp_path / "bundle", "opencl"), place)
    check_outputs(runner.infer({"x": x}), path, {"x": x})
