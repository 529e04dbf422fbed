"""A model reference of a workload file goes in; the path of a model file that is safe comes out.

References are 'zoo:NAME', 'python:PACKAGE/FILE' (a file that an installed Python package
ships), or a path.
"""

import importlib.util
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from onnx import AttributeProto, GraphProto, TensorProto, helper
from onnx.checker import ValidationError

from cotenant.core.errors import ModelError
from cotenant.graph.read import read_model
from cotenant.graph.shapes import without_weights
from cotenant.graph.wire import Payload
from cotenant.graph.zoo import zoo_path

_EXTRAS = {"rapidocr": "camera-box", "magika": "camera-box"}


def resolve_model(reference: str) -> Path:
    """Path of the model file that a reference names; a model of the zoo is drawn if need be.

    Raises:
        ModelError: an unknown name of the zoo, a package that is not installed, or no such
            file in it. A plain path is not looked at here; `check_model` does that.
    """
    kind, colon, name = reference.partition(":")
    if colon and kind == "zoo":
        return zoo_path(name)
    if colon and kind == "python":
        return _packaged(name)
    return Path(reference).expanduser()


def check_model(path: Path) -> None:
    """Look whether a model file is whole, valid and keeps to its folder.

    Weights are not read, and nothing is computed, so it takes milliseconds.

    Raises:
        ModelError: with what is wrong, where, and what to do.
    """
    try:
        _check(path)
    except UnicodeDecodeError as error:  # protocol buffers look at names when they are used
        raise ModelError(
            f"a name in {str(path)!r} is no text: {error}; the file is damaged, export it again"
        ) from error


def _check(path: Path) -> None:
    skeleton = read_model(path)
    model = skeleton.model
    _require(
        bool(model.opset_import),
        f"{str(path)!r} names no operator set; it is damaged or no ONNX model; export it again",
    )
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        _require(
            opset.domain not in ("", "ai.onnx") or opset.version <= newest,
            f"{str(path)!r} uses ONNX operator set {opset.version}; this installation knows up "
            f"to {newest}; export the model with an older set or upgrade 'onnx'",
        )
    _require(
        bool(model.graph.node),
        f"{str(path)!r} has an empty graph; it computes nothing; export the model again",
    )
    _require(
        bool(model.graph.output),
        f"{str(path)!r} has no outputs, so nothing could be answered; export it with outputs",
    )
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            _check_external(tensor, path)
    for payload in skeleton.payloads:
        _check_length(payload, path)
    try:
        onnx.checker.check_model(without_weights(skeleton))
    except ValidationError as error:
        raise ModelError(
            f"{str(path)!r} is not a valid ONNX model: {_first_line(error)}; export it again"
        ) from error


def _packaged(name: str) -> Path:
    package, _, inside = name.partition("/")
    file = PurePosixPath(inside)
    _require(
        package.isidentifier()
        and bool(inside)
        and not file.is_absolute()
        and ".." not in file.parts,
        f"'python:{name}' is no model reference; write 'python:PACKAGE/path/inside/it.onnx'",
    )
    spec = importlib.util.find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    extra = _EXTRAS.get(package)
    install = f"cotenant[{extra}]" if extra else package
    _require(
        bool(folders),
        f"'python:{name}' needs the Python package {package!r}, which is not installed; "
        f"run: pip install '{install}'",
    )
    for folder in folders:
        if (path := Path(folder) / file).is_file():
            return path
    raise ModelError(
        f"the installed package {package!r} has no file {inside!r}; another version of it may; "
        f"run: pip install --upgrade '{install}'"
    )


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor that a graph holds: weights, constants, and those of inner graphs."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            match attribute.type:
                case AttributeProto.TENSOR:
                    yield attribute.t
                case AttributeProto.TENSORS:
                    yield from attribute.tensors
                case AttributeProto.GRAPH:
                    yield from _tensors(attribute.g)
                case AttributeProto.GRAPHS:
                    for inner in attribute.graphs:
                        yield from _tensors(inner)


def _check_external(tensor: TensorProto, path: Path) -> None:
    location = next((each.value for each in tensor.external_data if each.key == "location"), "")
    folder = path.parent.resolve()
    what = f"weight {tensor.name!r} of {str(path)!r}"
    _require(
        bool(location)
        and "\0" not in location
        and not os.path.isabs(location)
        and ".." not in Path(location).parts,
        f"{what} lies at {location!r}, outside the model's folder; only files inside it are "
        "read; save the model with its data beside it",
    )
    stored = path.parent / location
    _require(
        stored.resolve().is_relative_to(folder),
        f"{what} lies at {location!r}, a link that leads outside the model's folder; replace "
        "the link by the file",
    )
    _require(
        stored.is_file(),
        f"{what} should lie at {str(stored)!r}, where there is no file; copy it there",
    )


def _check_length(payload: Payload, path: Path) -> None:
    tensor = payload.tensor
    _require(
        tensor.data_type in helper.get_all_tensor_dtypes(),
        f"weight {tensor.name!r} of {str(path)!r} has element type {tensor.data_type}, which "
        "this installation does not know; upgrade 'onnx' or export the model again",
    )
    itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    length = math.prod(tensor.dims) * itemsize
    # Types of less than a byte are packed; numpy's have a byte for each.
    _require(
        payload.size_bytes == length or itemsize == 1,
        f"weight {tensor.name!r} of {str(path)!r} has {payload.size_bytes} bytes; its shape "
        f"{list(tensor.dims)} needs {length}; the file is damaged, export it again",
    )


def _first_line(error: ValidationError) -> str:
    return next(iter(str(error).strip().splitlines()), "it is malformed").rstrip(".")


def _require(held: bool, otherwise: str) -> None:
    if not held:
        raise ModelError(otherwise)
