"""REST bodies become calls, and answers become REST bodies: JSON, binary, or both."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from cotenant.core.errors import InvalidRequest, RequestTooLarge, Unsupported
from cotenant.core.request import Tensor
from cotenant.serving import codec
from cotenant.serving.dataplane import InferCall, Inferred
from cotenant.serving.form import GivenTensor, Slot

Pieces = list[bytes | memoryview]


class RestCall(NamedTuple):
    """A call, and how its client wants the answer written."""

    call: InferCall
    id: str
    binary: Mapping[str, bool]
    """Outputs for which the client said whether it wants bytes."""
    binary_default: bool


def parse_json(body: codec.Raw) -> dict[str, Any]:
    """A JSON object; an empty body is an empty object."""
    if not body:
        return {}
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidRequest("the body is not a JSON object; send {...}")
    return content


def inflate(body: codec.Raw, encoding: str, limit_bytes: int) -> bytearray:
    """Undo a `Content-Encoding`, never beyond the limit that plain bodies have."""
    if encoding not in ("gzip", "deflate"):
        raise Unsupported(f"content encoding {encoding!r} is not supported; use gzip or deflate")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = inflater.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the body is not valid {encoding}: {error}") from error
    if len(plain) > limit_bytes:
        raise RequestTooLarge(
            f"the unpacked body is over the limit of {limit_bytes} bytes; see --max-body-size"
        )
    if not inflater.eof or inflater.unused_data:
        raise InvalidRequest(f"the body is truncated {encoding}, or has bytes behind its end")
    return bytearray(plain)


def parse_call(model: str, version: str, body: codec.Raw, header_length: bytes | None) -> RestCall:
    """A call from a body whose first `header_length` bytes are JSON and the rest tensors."""
    if header_length is None:
        content, tail = parse_json(body), memoryview(b"")
    else:
        length = int(header_length) if header_length.isdigit() else -1
        if not 0 <= length <= len(body):
            raise InvalidRequest(
                f"Inference-Header-Content-Length is {header_length.decode('latin-1')!r}; "
                f"the body has {len(body)} bytes"
            )
        if length == 0:
            raw = InferCall(model, version, memoryview(body), (), {})
            return RestCall(raw, "", {}, binary_default=True)
        whole = memoryview(body)
        content, tail = parse_json(whole[:length]), whole[length:]
    given = []
    for entry in _entries(content, "inputs"):
        tensor, tail = _given(entry, tail)
        given.append(tensor)
    if len(tail):
        raise InvalidRequest(f"{len(tail)} bytes stand behind the last binary input")
    outputs, binary = [], {}
    for entry in _entries(content, "outputs"):
        name = _string(entry, "name", "output")
        outputs.append(name)
        parameters = _parameters(entry)
        if "binary_data" in parameters:
            binary[name] = _flag(parameters, "binary_data")
        _no_extensions(parameters, f"output {name!r}")
    parameters = _parameters(content)
    identifier = content.get("id", "")
    if not isinstance(identifier, str):
        raise InvalidRequest("'id' is not a string")
    call = InferCall(model, version, given, outputs, parameters)
    return RestCall(call, identifier, binary, _flag(parameters, "binary_data_output"))


def build_answer(asked: RestCall, inferred: Inferred) -> tuple[Pieces, int | None]:
    """The pieces of the body, and the length of the JSON before its binary part, if any."""
    entries: list[dict[str, Any]] = []
    tail: Pieces = []
    for slot, array in inferred.outputs:
        entry: dict[str, Any] = {
            "name": slot.name,
            "datatype": slot.datatype,
            "shape": array.shape,
        }
        if asked.binary.get(slot.name, asked.binary_default):
            raw = codec.encode_raw(array)
            entry["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)  # type: ignore[arg-type]
        else:
            entry["data"] = _json_values(slot, array)
        entries.append(entry)
    content: dict[str, Any] = {"model_name": inferred.model, "model_version": inferred.version}
    if asked.id:
        content["id"] = asked.id
    content["outputs"] = entries
    # JSON has no NaN and no infinity; they are written as null.
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return [head, *tail], len(head) if tail else None


def _given(entry: dict[str, Any], tail: memoryview) -> tuple[GivenTensor, memoryview]:
    name = _string(entry, "name", "input")
    parameters = _parameters(entry)
    _no_extensions(parameters, f"input {name!r}")
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(type(length) is int for length in shape):
        raise InvalidRequest(f"input {name!r} has no 'shape' of whole numbers")
    datatype = _string(entry, "datatype", f"input {name!r}")
    size = parameters.get("binary_data_size")
    values = entry.get("data")
    if size is None:
        if not isinstance(values, list):
            raise InvalidRequest(
                f"input {name!r} has neither a list 'data' nor a 'binary_data_size'"
            )
        return GivenTensor(name, datatype, tuple(shape), None, values), tail
    if values is not None:
        raise InvalidRequest(f"input {name!r} has both 'data' and 'binary_data_size'; send one")
    if type(size) is not int or not 0 <= size <= len(tail):
        raise InvalidRequest(
            f"input {name!r} has binary_data_size {size!r}; {len(tail)} bytes are left in the "
            "body behind its JSON; check Inference-Header-Content-Length"
        )
    return GivenTensor(name, datatype, tuple(shape), tail[:size], None), tail[size:]


def _json_values(slot: Slot, array: Tensor) -> Any:
    if slot.dtype.hasobject:
        return [_json_text(slot, element) for element in array.reshape(-1)]
    # orjson reads plain, contiguous, native arrays.
    return np.ascontiguousarray(array, slot.dtype.newbyteorder("=")).reshape(-1)


def _json_text(slot: Slot, element: Any) -> str:
    try:
        return element.decode() if isinstance(element, bytes) else str(element)
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"output {slot.name!r} is no UTF-8; ask for it with binary_data"
        ) from error


def _no_extensions(parameters: Mapping[str, Any], where: str) -> None:
    for name in ("shared_memory_region", "classification"):
        if name in parameters:
            raise Unsupported(f"{where}: {name} is not supported; send and take whole tensors")


def _entries(content: dict[str, Any], name: str) -> Sequence[dict[str, Any]]:
    entries = content.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidRequest(f"{name!r} is not a list of objects")
    return entries


def _parameters(content: dict[str, Any]) -> dict[str, Any]:
    parameters = content.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidRequest("'parameters' is not an object")
    return parameters


def _string(entry: dict[str, Any], name: str, where: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{where} has no string {name!r}")
    return value


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"parameter {name!r} is {value!r}; send true or false")
    return value
