"""Reading and writing model files: `onnx` is the oracle, and no bytes make the check stumble."""

import contextlib
import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cotenant.core.errors import ModelError
from cotenant.graph.load import check_model
from cotenant.graph.read import read_model
from cotenant.graph.wire import Payload, Skeleton, model_size_bytes, varint, write_model

in_one_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


def model_of(sizes: list[int]) -> ModelProto:
    """A sum of weights of the given lengths, each reduced to one number."""
    nodes = [helper.make_node("ReduceSum", [f"w{k}"], [f"s{k}"]) for k in range(len(sizes))]
    nodes.append(helper.make_node("Sum", ["x", *(f"s{k}" for k in range(len(sizes)))], ["y"]))
    value = helper.make_tensor_value_info
    weights = [
        numpy_helper.from_array(np.arange(size, dtype=np.float32) + k, f"w{k}")
        for k, size in enumerate(sizes)
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "sum",
            [value("x", TensorProto.FLOAT, ["n"])],
            [value("y", TensorProto.FLOAT, ["n"])],
            weights,
        ),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 13)],
        producer_name="a test",
        doc_string="of some length",
    )


def written(skeleton: Skeleton) -> bytes:
    sink = io.BytesIO()
    write_model(sink, skeleton)
    return sink.getvalue()


@in_one_folder
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6))
def test_read_and_written_again_it_is_the_same_model(tmp_path: Path, sizes: list[int]) -> None:
    model = model_of(sizes)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    check_model(path)
    skeleton = read_model(path)
    assert len(skeleton.payloads) == sum(4 * size >= 4096 for size in sizes) or any(
        4000 < 4 * size < 4200 for size in sizes
    )
    content = written(skeleton)
    assert len(content) == model_size_bytes(skeleton)
    again = ModelProto.FromString(content)
    for each in (model, again):
        each.graph.initializer.sort(key=lambda tensor: tensor.name)
    assert again == model


@given(st.integers(0, 2**63 - 1))
def test_varint_is_what_protocol_buffers_write(value: int) -> None:
    assert onnx.ModelProto(ir_version=value).SerializeToString() == (
        b"\x08" + varint(value) if value else b"\x08\x00"
    )


@in_one_folder
@given(st.data())
def test_every_beginning_of_a_file_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    content = model_of([2000, 3]).SerializeToString()
    length = data.draw(st.integers(0, len(content) - 1))
    path = tmp_path / "m.onnx"
    path.write_bytes(content[:length])
    with pytest.raises(ModelError) as caught:
        check_model(path)
    assert str(path) in str(caught.value)


@in_one_folder
@given(st.data())
def test_no_damage_makes_the_check_stumble(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(model_of([1500, 3]).SerializeToString())
    graph_and_end = [*range(300), *range(len(content) - 300, len(content))]
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.sampled_from(graph_and_end))] = data.draw(st.integers(0, 255))
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with contextlib.suppress(ModelError):  # and nothing else
        check_model(path)


@in_one_folder
@given(st.binary(max_size=200))
def test_no_file_at_all_makes_the_check_stumble(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        check_model(path)


def test_weight_that_vanishes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(model_of([5000]), path)
    skeleton = read_model(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ModelError, match=r"ends before byte \d+"):
        written(skeleton)


def test_lengths_of_more_than_four_gigabytes_fit() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**31])
    skeleton = Skeleton(model_of([3]), (Payload(tensor, 2**33, ()),))
    assert len(written(skeleton)) == model_size_bytes(skeleton) - 2**33
