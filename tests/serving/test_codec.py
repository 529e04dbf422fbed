"""Properties of the codec: what is encoded comes back, and errors have codes."""

import math

import grpc
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core import errors
from cotenant.core.errors import CotenantError, InvalidRequest
from cotenant.core.request import Tensor
from cotenant.serving import codec
from tests.serving.fake_runtime import DTYPES

_NUMBERS = [dtype for dtype in DTYPES if dtype != "object"]
_SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)


@st.composite
def _tensors(draw: st.DrawFn) -> Tensor:
    dtype = draw(st.sampled_from(DTYPES))
    if dtype != "object":
        array: Tensor = draw(arrays.arrays(dtype, _SHAPES))
        return array
    shape = draw(_SHAPES)
    count = math.prod(shape)
    strings = np.empty(count, object)
    strings[:] = draw(st.lists(st.text(max_size=6), min_size=count, max_size=count))
    return strings.reshape(shape)


def _dtype(array: Tensor) -> np.dtype:  # type: ignore[type-arg]
    return codec.wire_dtype("object" if array.dtype.hasobject else array.dtype.name)


def _same(one: Tensor, other: Tensor) -> bool:
    if one.dtype.hasobject:
        return one.shape == other.shape and one.tolist() == other.tolist()
    return one.shape == other.shape and one.tobytes() == other.tobytes()


@given(_tensors())
def test_raw_contents_come_back(array: Tensor) -> None:
    raw = bytes(codec.encode_raw(array))
    assert _same(codec.decode_raw(raw, _dtype(array), array.shape, array.size), array)


@given(_tensors(), st.booleans())
def test_raw_contents_of_another_layout_are_the_same(array: Tensor, big_endian: bool) -> None:
    other = np.asfortranarray(array)
    if big_endian and not array.dtype.hasobject:
        other = other.astype(array.dtype.newbyteorder(">"))
    assert bytes(codec.encode_raw(other)) == bytes(codec.encode_raw(array))


@given(_tensors(), st.integers(-3, 3).filter(bool))
def test_raw_contents_of_another_length_are_refused(array: Tensor, by: int) -> None:
    raw = bytes(codec.encode_raw(array))
    wrong = raw[:by] if by < 0 else raw + b"\1" * by
    if len(wrong) == len(raw):
        return
    with pytest.raises(InvalidRequest):
        codec.decode_raw(wrong, _dtype(array), array.shape, array.size)


@given(_tensors(), st.booleans())
def test_values_come_back_flat_or_nested(array: Tensor, nested: bool) -> None:
    values = array.tolist() if nested else array.reshape(-1).tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return  # JSON has no NaN
    if nested and array.size == 0 and array.ndim > 1:
        return  # [] cannot tell the lengths of the axes behind an empty one
    decoded = codec.decode_values(values, _dtype(array), array.shape, array.size)
    assert _same(decoded, array)


@given(st.sampled_from(_NUMBERS), st.integers(-(2**65), 2**65))
def test_integers_outside_the_range_are_refused(dtype: str, value: int) -> None:
    target = np.dtype(dtype)
    if target.kind == "f":
        return
    low, high = (0, 1) if target.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if low <= value <= high:
        assert codec.decode_values([value], codec.wire_dtype(dtype), (1,), 1)[0] == value
    else:
        with pytest.raises(InvalidRequest):
            codec.decode_values([value], codec.wire_dtype(dtype), (1,), 1)


def test_integers_that_no_type_of_numpy_holds_together() -> None:
    values, uint64 = [0, 2**63], codec.wire_dtype("uint64")
    assert codec.decode_values(values, uint64, (2,), 2).tolist() == values
    for wrong in ([0, 2**64], [-1, 2**63], [0, 1.0], [0, None]):
        with pytest.raises(InvalidRequest):
            codec.decode_values(wrong, uint64, (2,), 2)


@given(st.binary(max_size=40), st.integers(0, 5))
def test_any_bytes_are_strings_or_an_error(raw: bytes, count: int) -> None:
    try:
        strings = codec.decode_strings(raw, count)
    except InvalidRequest:
        return
    assert codec.encode_strings(strings) == raw


def _branches(root: type[CotenantError]) -> list[type[CotenantError]]:
    return [root, *(leaf for branch in root.__subclasses__() for leaf in _branches(branch))]


@pytest.mark.parametrize("branch", _branches(CotenantError))
def test_every_error_has_codes(branch: type[CotenantError]) -> None:
    status = codec.status_of(branch("why"))
    assert 400 <= status.http < 600
    assert codec.GRPC_NUMBER[status.grpc] == grpc.StatusCode[status.grpc].value[0]
    assert codec.message_of(branch("why")).endswith("why")


def test_the_nearest_branch_counts() -> None:
    assert codec.status_of(errors.RequestTooLarge("")).http == 413
    assert codec.status_of(errors.InvalidRequest("")).http == 400
    assert codec.status_of(errors.DeadlineExceeded("")).grpc == "DEADLINE_EXCEEDED"


def test_a_type_without_a_name_on_the_wire() -> None:
    with pytest.raises(errors.ModelError, match="complex64"):
        codec.datatype_of("complex64")
