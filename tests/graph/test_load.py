"""References and bad files: each fault is named with what, where and what to do."""

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from cotenant.core.errors import ModelError
from cotenant.graph.load import check_model, resolve_model
from tests.graph.test_files import model_of


def saved(path: Path, change: Callable[[ModelProto], object]) -> Path:
    model = model_of([4])
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def external(path: Path, location: str) -> Path:
    def change(model: ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return saved(path, change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.ClearField("opset_import"), "names no operator set"),
        (lambda model: model.graph.ClearField("node"), "empty graph"),
        (lambda model: model.graph.ClearField("output"), "has no outputs"),
        (lambda model: setattr(model.opset_import[0], "version", 999), "operator set 999"),
        (lambda model: setattr(model.graph.node[0], "op_type", "Conf"), "Conf"),
        (lambda model: model.graph.node[0].input.append("nothing"), "not a valid ONNX model"),
        (lambda model: model.graph.node.append(model.graph.node[0]), "not a valid ONNX model"),
    ],
)
def test_fault_inside_a_model(
    tmp_path: Path, change: Callable[[ModelProto], object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        check_model(saved(tmp_path / "m.onnx", change))


def test_weight_of_the_wrong_length(tmp_path: Path) -> None:
    model = model_of([5000])
    model.graph.initializer[0].raw_data = b"\0" * 19_999
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(
        ModelError, match=r"'w0' .* has 19999 bytes; its shape \[5000\] needs 20000"
    ):
        check_model(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (b"not a model, but some text", "not an ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file"),
        (bytes(1000), "not an ONNX file"),
        (b"PK\x03\x04" + bytes(100), "not an ONNX file"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        check_model(tmp_path / "m.onnx")


def test_no_file_and_no_file_but_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no model file .*none\.onnx"):
        check_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is not a file"):
        check_model(tmp_path)


def test_external_data_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights.bin").write_bytes(bytes(16))
    check_model(external(tmp_path / "m.onnx", "sub/weights.bin"))


@pytest.mark.parametrize("location", ["/etc/hostname", "../weights.bin", "sub/../../w.bin", ""])
def test_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    with pytest.raises(ModelError, match=r"'w0' .* outside the model's folder"):
        check_model(external(tmp_path / "m.onnx", location))


def test_external_data_behind_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    os.symlink(tmp_path / "secret", folder / "weights.bin")
    with pytest.raises(ModelError, match="a link that leads outside"):
        check_model(external(folder / "m.onnx", "weights.bin"))
    os.symlink(tmp_path, folder / "inner")
    with pytest.raises(ModelError, match="a link that leads outside"):
        check_model(external(folder / "m.onnx", "inner/secret"))


def test_external_data_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"should lie at .*weights\.bin', where there is no file"):
        check_model(external(tmp_path / "m.onnx", "weights.bin"))


def test_external_data_of_a_constant_in_an_inner_graph(tmp_path: Path) -> None:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    inner = helper.make_graph([helper.make_node("Constant", [], ["o"], value=tensor)], "i", [], [])

    def change(model: ModelProto) -> None:
        branches = {"then_branch": inner, "else_branch": inner}
        model.graph.node.append(helper.make_node("If", ["x"], ["z"], **branches))

    with pytest.raises(ModelError, match=r"'c' .* outside the model's folder"):
        check_model(saved(tmp_path / "m.onnx", change))


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTENANT_CACHE", str(tmp_path))
    assert resolve_model("zoo:cifarnet").is_relative_to(tmp_path)
    assert resolve_model("some/model.onnx") == Path("some/model.onnx")
    assert resolve_model("odd:name.onnx") == Path("odd:name.onnx")
    light = "backend/test/data/light/light_vgg19.onnx"
    assert resolve_model(f"python:onnx/{light}") == Path(onnx.__file__).parent / light


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("zoo:resnet", "did you mean 'zoo:resnet50'"),
        ("python:no_such_package/m.onnx", r"not installed; run: pip install 'no_such_package'"),
        ("python:onnx/none.onnx", "has no file 'none.onnx'"),
        ("python:onnx", "write 'python:PACKAGE"),
        ("python:onnx/../secret.onnx", "write 'python:PACKAGE"),
        ("python:onnx//etc/hostname", "write 'python:PACKAGE"),
        ("python:onnx.backend/m.onnx", "write 'python:PACKAGE"),
    ],
)
def test_references_to_nothing(reference: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve_model(reference)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"pip install 'cotenant\[camera-box\]'"):
        resolve_model("python:rapidocr/models/any.onnx")
