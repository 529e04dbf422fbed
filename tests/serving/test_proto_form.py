"""Requests parsed by hand are what protobuf would have made of them."""

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from cotenant.serving.proto_form import receive
from cotenant.serving.protocol import inference_pb2 as pb


@st.composite
def _messages(draw: st.DrawFn) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=draw(st.text(max_size=200)), id=draw(st.text()))
    for size in draw(st.lists(st.sampled_from([0, 1, 127, 128, 20_000]), max_size=4)):
        request.raw_input_contents.append(bytes([size % 251]) * size)
        request.inputs.add(name="x", datatype="UINT8", shape=[size])
    request.parameters["priority"].int64_param = draw(st.integers(-(2**63), 2**63 - 1))
    request.parameters["weight"].double_param = 0.5
    return request


def _whole(message: bytes) -> pb.ModelInferRequest:
    request, raw = receive(message)
    contents = [bytes(one) for one in raw]
    whole = pb.ModelInferRequest()
    whole.CopyFrom(request)
    del whole.raw_input_contents[:]
    whole.raw_input_contents.extend(contents)
    return whole


@given(_messages(), st.booleans())
def test_nothing_is_lost(request: pb.ModelInferRequest, merged: bool) -> None:
    message = request.SerializeToString()
    # Protobuf lets fields come in any order, and two messages written one behind the other.
    message += message if merged else b""
    assert _whole(message) == pb.ModelInferRequest.FromString(message)


@given(_messages(), st.integers(0, 30_000), st.binary(max_size=8))
def test_malformed_messages_are_protobufs_to_judge(
    request: pb.ModelInferRequest, at: int, noise: bytes
) -> None:
    message = request.SerializeToString()
    broken = message[: at % (len(message) + 1)] + noise
    try:
        expected = pb.ModelInferRequest.FromString(broken)
    except DecodeError:
        expected = None
    try:
        parsed = _whole(broken)
    except DecodeError:
        parsed = None
    assert parsed == expected
