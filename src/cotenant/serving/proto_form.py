"""gRPC messages become calls, and answers become gRPC messages."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cotenant.core.errors import InvalidRequest, Unsupported
from cotenant.serving import codec
from cotenant.serving.dataplane import InferCall, Inferred
from cotenant.serving.form import GivenTensor
from cotenant.serving.protocol import inference_pb2 as pb

# BYTES and the numbers that typed contents can carry; FP16 travels as raw contents alone.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_WORTHWHILE_BYTES = 16 * 1024
_RAW_OUTPUT = bytes((pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER << 3 | 2,))
_INFER_RESPONSE = bytes((pb.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER << 3 | 2,))
_RAW_KEY = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | 2


class Received(NamedTuple):
    """A request with its raw contents beside it, still where they were received."""

    request: pb.ModelInferRequest
    """Without raw contents."""
    raw: Sequence[codec.Raw]


def receive(message: bytes | memoryview) -> Received:
    """Parse a message, but leave large raw contents out: protobuf would copy them twice."""
    # Protobuf takes any buffer; its stubs say otherwise.
    if len(message) < _WORTHWHILE_BYTES:
        request = pb.ModelInferRequest.FromString(message)  # type: ignore[arg-type]
        return Received(request, request.raw_input_contents)
    view, raw, rest = memoryview(message), [], []
    at = rest_from = 0
    try:
        while at < len(message):
            start = at
            key, at = _varint(message, at)
            at, content = _skip(message, key & 7, at)
            if key == _RAW_KEY:
                raw.append(view[content:at])
                rest.append(view[rest_from:start])
                rest_from = at
    except (IndexError, ValueError):
        raw = []
    if at != len(message) or not raw:
        # Malformed, or nothing to gain: protobuf judges better than we do.
        request = pb.ModelInferRequest.FromString(message)  # type: ignore[arg-type]
        return Received(request, request.raw_input_contents)
    rest.append(view[rest_from:])
    return Received(pb.ModelInferRequest.FromString(b"".join(rest)), raw)


def parse_call(received: Received, remaining_s: float | None) -> InferCall:
    """A call from a request; `remaining_s` is what is left of the gRPC deadline."""
    request, raw = received
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequest(
            f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs; "
            "send one for each input, in the same order"
        )
    contents = raw or (None,) * len(request.inputs)
    inputs = [
        _given(tensor, bytes_) for tensor, bytes_ in zip(request.inputs, contents, strict=True)
    ]
    for output in request.outputs:
        if output.parameters:
            _no_extensions(output.parameters, f"output {output.name!r}")
    return InferCall(
        request.model_name,
        request.model_version,
        inputs,
        [output.name for output in request.outputs],
        parameters_of(request.parameters),
        remaining_s,
    )


def build_answer(identifier: str, inferred: Inferred) -> Sequence[codec.Raw]:
    """The bytes of the response, with every output as raw contents, where the output is."""
    response = pb.ModelInferResponse(
        model_name=inferred.model, model_version=inferred.version, id=identifier
    )
    raw: list[codec.Raw] = []
    for slot, array in inferred.outputs:
        response.outputs.add(name=slot.name, datatype=slot.datatype, shape=array.shape)
        content = codec.encode_raw(array)
        raw += (_RAW_OUTPUT + _encode_varint(len(content)), content)
    # Raw contents are the last field, so that what goes before them is a message by itself.
    return (response.SerializeToString(), *raw)


def build_stream_answer(answer: Sequence[codec.Raw]) -> Sequence[codec.Raw]:
    """A response as a message of a stream of responses."""
    return (_INFER_RESPONSE + _encode_varint(sum(map(len, answer))), *answer)


def parameters_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with their values as Python has them."""
    if not parameters:
        return {}
    values = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidRequest(f"parameter {name!r} has no value")
        values[name] = getattr(parameter, choice)
    return values


def _varint(message: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number that stands at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _skip(message: bytes | memoryview, wire_type: int, at: int) -> tuple[int, int]:
    """Where the field whose value begins at `at` ends, and where its content starts."""
    if wire_type == 2:
        length, content = _varint(message, at)
        return content + length, content
    if wire_type == 0:
        return _varint(message, at)[1], at
    if wire_type in (1, 5):
        return at + (8 if wire_type == 1 else 4), at
    raise ValueError(f"wire type {wire_type}")


def _given(tensor: pb.ModelInferRequest.InferInputTensor, raw: codec.Raw | None) -> GivenTensor:
    if tensor.parameters:
        _no_extensions(tensor.parameters, f"input {tensor.name!r}")
    shape = tuple(tensor.shape)
    if raw is not None:
        if tensor.HasField("contents"):
            raise InvalidRequest(
                f"input {tensor.name!r} has contents, and the request raw_input_contents; send one"
            )
        return GivenTensor(tensor.name, tensor.datatype, shape, raw, None)
    return GivenTensor(tensor.name, tensor.datatype, shape, None, _values(tensor))


def _values(tensor: pb.ModelInferRequest.InferInputTensor) -> Sequence[Any]:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise InvalidRequest(
            f"input {tensor.name!r} of type {tensor.datatype!r} has no typed contents; "
            "send it in raw_input_contents"
        )
    filled = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    if any(name != field for name in filled):
        raise InvalidRequest(
            f"input {tensor.name!r} of type {tensor.datatype} has {', '.join(filled)}; send {field}"
        )
    values: Sequence[Any] = list(getattr(tensor.contents, field))
    return values


def _no_extensions(parameters: Mapping[str, Any], where: str) -> None:
    for name in ("shared_memory_region", "classification"):
        if name in parameters:
            raise Unsupported(f"{where}: {name} is not supported; send and take whole tensors")
