"""A `Skeleton` and its folder go in; the same with external weights made payloads comes out."""

import math
from pathlib import Path

from onnx import ModelProto, TensorProto, helper

from cotenant.graph.read import FileRange
from cotenant.graph.shapes import is_external
from cotenant.graph.wire import Payload, Skeleton


def with_external_data(skeleton: Skeleton, folder: Path) -> Skeleton:
    """Point to weights in files beside the model, so that they are written into the new file.

    `check_model` must have found that those files exist and are inside the folder.
    """
    model = ModelProto()
    model.CopyFrom(skeleton.model)
    external = [_payload(each, folder) for each in model.graph.initializer if is_external(each)]
    inside = [each for each in model.graph.initializer if not is_external(each)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(inside)
    return Skeleton(model, skeleton.payloads + tuple(external))


def _payload(tensor: TensorProto, folder: Path) -> Payload:
    where = {entry.key: entry.value for entry in tensor.external_data}
    itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    size_bytes = int(where.get("length", math.prod(tensor.dims) * itemsize))
    return Payload(
        TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims),
        size_bytes,
        FileRange(folder / where["location"], int(where.get("offset", 0)), size_bytes),
    )
