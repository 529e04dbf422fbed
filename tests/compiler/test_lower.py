"""What the compiler says to its user: bound shapes, unknown operators, and quick repetition."""

import importlib.util
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from cotenant.cli.compile import compile as compile_command
from cotenant.compiler.bind import bind_inputs
from cotenant.core.errors import ModelError
from cotenant.device.bundle import read_bundle
from tests.models import scale_model, slow_model

needs_tvm = pytest.mark.skipif(
    importlib.util.find_spec("tvm") is None,
    reason="needs TVM: pip install 'cotenant[compile]'",
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTENANT_CACHE", str(tmp_path / "cache"))


def model_of(*axes: int | str) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, axes)],
        [value("y", TensorProto.FLOAT, axes)],
    )
    return helper.make_model(graph)


def test_free_axes_are_bound() -> None:
    assert bind_inputs(model_of("n", 4), {}, 3)[0].shape == (3, 4)
    assert bind_inputs(model_of("n", "t", 4), {"x": (2, 7, 4)}, 1)[0].shape == (2, 7, 4)
    assert bind_inputs(model_of(2, 4), {}, 9)[0].shape == (2, 4)
    assert bind_inputs(model_of(-1, 4), {}, 3)[0].shape == (3, 4), "some exporters write -1"
    assert bind_inputs(model_of(-1, -1), {"x": (2, 7)}, 1)[0].shape == (2, 7)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "--shape x=1xNx4"),
        ({"x": (2, 7)}, "does not fit"),
        ({"x": (2, 7, 5)}, "does not fit"),
        ({"z": (2, 7, 4)}, "no input 'z'"),
    ],
)
def test_free_axes_are_refused_with_the_remedy(
    shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        bind_inputs(model_of("n", "t", 4), shapes, 1)


@needs_tvm
def test_command_writes_a_bundle_and_keeps_kernels(tmp_path: Path) -> None:
    model, out = slow_model(tmp_path, size=32, depth=2), tmp_path / "bundle"
    arguments = [str(model), "-o", str(out), "--batch", "2"]
    first = CliRunner().invoke(compile_command, arguments)
    assert first.exit_code == 0, first.output
    assert "preemptive" in first.output
    written = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.json")}
    assert kept
    second = CliRunner().invoke(compile_command, arguments)
    assert second.exit_code == 0, second.output
    assert written == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert kept == {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.json")}
    bundle = read_bundle(out, "opencl")
    assert [one.shape for one in bundle.manifest.inputs] == [(2, 32)]
    assert [one.name for one in bundle.manifest.outputs] == ["y"]


@needs_tvm
def test_a_damaged_kernel_in_the_cache_is_built_again(tmp_path: Path) -> None:
    arguments = [str(scale_model(tmp_path)), "-o", str(tmp_path / "bundle")]
    assert CliRunner().invoke(compile_command, arguments).exit_code == 0
    (kept,) = (tmp_path / "cache").rglob("*.json")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    assert CliRunner().invoke(compile_command, arguments).exit_code == 0
    assert kept.read_bytes() == whole


@needs_tvm
def test_an_unknown_operator_is_named_with_its_node(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Det", ["x"], ["d"], name="volume")],
        "g",
        [value("x", TensorProto.FLOAT, [3, 3])],
        [value("d", TensorProto.FLOAT, [])],
    )
    path = tmp_path / "det.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    done = CliRunner().invoke(compile_command, [str(path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "Det (node 'volume')" in done.output
    assert not (tmp_path / "out").exists()


@needs_tvm
def test_what_the_front_end_stumbles_over_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumbling(*given: Any, **about: Any) -> Any:
        raise ValueError("Node n cannot handle ShapeExpr inputs.")

    monkeypatch.setattr("cotenant.compiler.lower.from_onnx", stumbling)
    arguments = [str(scale_model(tmp_path)), "-o", str(tmp_path / "bundle")]
    done = CliRunner().invoke(compile_command, arguments)
    assert done.exit_code == 1
    assert "scale.onnx': ValueError: Node n cannot handle ShapeExpr inputs" in done.output
    assert "serve it on the CPU" in done.output


def branch(kind: str) -> onnx.GraphProto:
    made = helper.make_node(kind, ["x"], ["o"])
    return helper.make_graph(
        [made], kind, [], [helper.make_tensor_value_info("o", TensorProto.FLOAT, ["n", 4])]
    )


@needs_tvm
@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([helper.make_node("NonZero", ["x"], ["y"])], "did not become a kernel"),
        (
            [
                helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
                helper.make_node("Cast", ["most"], ["is"], to=TensorProto.BOOL),
                helper.make_node(
                    "If", ["is"], ["y"], then_branch=branch("Relu"), else_branch=branch("Neg")
                ),
            ],
            "'If'",
        ),
    ],
)
def test_what_hangs_on_values_is_refused(
    nodes: list[onnx.NodeProto], why: str, tmp_path: Path
) -> None:
    model = model_of("n", 4)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if nodes[-1].op_type == "NonZero":
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, tmp_path / "m.onnx")
    arguments = [str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(compile_command, arguments)
    assert done.exit_code == 1
    assert why in done.output
    assert "serve the model on the CPU" in done.output


@needs_tvm
def test_lengths_that_are_computed_in_the_graph(tmp_path: Path) -> None:
    model = model_of("n", "t", 4)
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Identity", ["s"], ["same"]),
            helper.make_node("ReduceProd", ["same"], ["all"]),
            helper.make_node("Reshape", ["x", "all"], ["flat"]),
            helper.make_node("Relu", ["flat"], ["y"]),
        ]
    )
    del model.graph.output[0].type.tensor_type.shape.dim[1:]
    onnx.save(model, tmp_path / "flat.onnx")
    arguments = [str(tmp_path / "flat.onnx"), "-o", str(tmp_path / "out"), "--shape", "x=2x7x4"]
    done = CliRunner().invoke(compile_command, arguments)
    assert done.exit_code == 0, done.output
    assert [one.shape for one in read_bundle(tmp_path / "out", "opencl").manifest.outputs] == [
        (56,)
    ]


@needs_tvm
def test_names_that_are_no_identifiers_stay_outside_of_kernels(tmp_path: Path) -> None:
    model, name = model_of(1, 4), "gpu 0/data-0"
    model.graph.input[0].name = model.graph.node[0].input[0] = name
    onnx.save(model, tmp_path / "odd.onnx")
    out = tmp_path / "out"
    done = CliRunner().invoke(compile_command, [str(tmp_path / "odd.onnx"), "-o", str(out)])
    assert done.exit_code == 0, done.output
    bundle = read_bundle(out, "opencl")
    assert [one.name for one in bundle.manifest.inputs] == [name]
    assert not any("gpu" in source for source in bundle.sources.values())


@pytest.mark.parametrize("text", ["x", "x=", "x=1x", "x=0x3", "x=axb"])
def test_shapes_that_are_none(text: str) -> None:
    done = CliRunner().invoke(compile_command, ["m.onnx", "-o", "b", "--shape", text])
    assert done.exit_code == 2
    assert "is no shape" in done.output
