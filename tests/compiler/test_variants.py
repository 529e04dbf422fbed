"""Further schedules stand for the default one: same name, few, different, and kept like it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("tvm", reason="needs TVM: pip install 'cotenant[compile]'")

from cotenant.compiler.front import lower_model
from cotenant.compiler.occupancy import limits_of
from cotenant.compiler.program import Program, parse_target
from cotenant.compiler.source import find_kernels
from cotenant.compiler.unit import UnitCache
from cotenant.compiler.variants import VARIANTS_MAX


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution, what pools it, and a sum that is negligible."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((32, 16, 3, 3)), "b": rng.standard_normal(32)}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[3, 3], strides=[2, 2]),
            helper.make_node("ReduceMax", ["p"], ["y"], axes=[1, 2, 3]),
        ],
        "small",
        [value("x", TensorProto.FLOAT, [1, 16, 17, 17])],
        [value("y", TensorProto.FLOAT, [1, 1, 1, 1])],
        [numpy_helper.from_array(one.astype(np.float32), name) for name, one in weights.items()],
    )
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.save(model, path)
    return path


def lowered(path: Path, target: str, cache: Path) -> Program:
    return lower_model(
        path,
        parse_target(target),
        shapes={},
        batch=1,
        cache=UnitCache(cache),
        tell=lambda what, done, total: None,
    )


@pytest.mark.parametrize("target", ["opencl", "cuda:sm_87"])
def test_variants_stand_for_heavy_kernels(path: Path, target: str, tmp_path: Path) -> None:
    program = lowered(path, target, tmp_path)
    kernels = {kernel.name: kernel for kernel in program.kernels}
    limits = limits_of(parse_target(target).architecture)
    varied = {variant.of for variant in program.variants}
    assert any("conv" in name for name in varied)
    assert any("pool" in name for name in varied)
    for name in varied:
        mine = [one for one in program.variants if one.of == name]
        assert 1 <= len(mine) <= VARIANTS_MAX
        assert len({one.name for one in mine}) == len(mine)
        (default,) = find_kernels(kernels[name].source, parse_target(target).language)
        for one in mine:
            assert one.kernel != kernels[name]
            (found,) = find_kernels(one.kernel.source, parse_target(target).language)
            assert (found.name, len(found.arguments)) == (name, len(default.arguments))
            x, y, z = one.kernel.block
            assert x * y * z <= limits.block_threads


def test_variants_are_kept(path: Path, tmp_path: Path) -> None:
    first = lowered(path, "opencl", tmp_path)
    kept = {one: one.stat().st_mtime_ns for one in tmp_path.rglob("*.json")}
    assert len(kept) > len(first.kernels)
    assert lowered(path, "opencl", tmp_path).variants == first.variants
    assert kept == {one: one.stat().st_mtime_ns for one in tmp_path.rglob("*.json")}
