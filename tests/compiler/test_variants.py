"""Further schedules stand for the default one: same name, few, different, and kept like it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("tvm", reason="needs TVM: pip install 'cotenant[compile]'")

from tvm.error import InternalError

from cotenant.compiler import variants
from cotenant.compiler.front import lower_model
from cotenant.compiler.occupancy import limits_of
from cotenant.compiler.program import Program, parse_target
from cotenant.compiler.source import find_kernels
from cotenant.compiler.unit import UnitCache
from cotenant.compiler.variants import VARIANTS_MAX
from cotenant.core.errors import ModelError


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


def raising(error: Exception) -> Callable[..., Any]:
    def build(*about: Any) -> Any:
        raise error

    return build


@pytest.mark.parametrize("misfit", [raising(ModelError("more on the host")), lambda *about: None])
def test_that_a_schedule_does_not_fit_is_kept(
    misfit: Callable[..., Any], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "build_by_rule", misfit)
    assert lowered(path, "opencl", tmp_path).variants == ()
    monkeypatch.setattr(variants, "build_by_rule", raising(TypeError("built again")))
    assert lowered(path, "opencl", tmp_path).variants == ()


def test_a_failed_check_of_tvm_is_told_each_time(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(variants, "build_by_rule", raising(InternalError("Check failed: x > 0")))
    for _ in range(2):
        caplog.clear()
        assert lowered(path, "opencl", tmp_path).variants == ()
        assert "is left out: TVM: Check failed: x > 0" in caplog.text


@pytest.mark.parametrize(
    "error",
    [TypeError, AttributeError, ValueError, IndexError, AssertionError, MemoryError, OSError],
)
def test_faults_are_not_taken_for_schedules_that_do_not_fit(
    error: type[Exception], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "build_by_rule", raising(error("a fault")))
    with pytest.raises(error, match="a fault"):
        lowered(path, "opencl", tmp_path)
