"""gRPC messages become calls, and answers become gRPC messages."""

from collections.abc import Mapping, Sequence
from typing import Any

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


def parse_call(request: pb.ModelInferRequest, remaining_s: float | None) -> InferCall:
    """A call from a request; `remaining_s` is what is left of the gRPC deadline."""
    raw = request.raw_input_contents
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


def build_answer(identifier: str, inferred: Inferred) -> pb.ModelInferResponse:
    """The response, with every output as raw contents."""
    response = pb.ModelInferResponse(
        model_name=inferred.model, model_version=inferred.version, id=identifier
    )
    for slot, array in inferred.outputs:
        response.outputs.add(name=slot.name, datatype=slot.datatype, shape=array.shape)
        response.raw_output_contents.append(bytes(codec.encode_raw(array)))
    return response


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


def _given(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> GivenTensor:
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
