"""A `Skeleton` goes in; the type of every tensor, and what its nodes read, come out.

Shape inference wants a whole model. Weights are therefore replaced by typed inputs first: what
is inferred is the same, and a model of half a gigabyte costs no more than its graph.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    shape_inference,
)

from cotenant.core.errors import ModelError
from cotenant.graph.wire import Skeleton


class TensorType(NamedTuple):
    """Element type and shape of one tensor."""

    element: int
    """A value of `TensorProto.DataType`."""
    shape: tuple[int | str | None, ...] | None
    """An axis of unknown length has a name or `None`; the whole is `None` if nothing is known."""

    @property
    def elements(self) -> int:
        """Number of elements, in a batch of one."""
        return math.prod(self.lengths or ())

    @property
    def lengths(self) -> tuple[int, ...] | None:
        """The shape with one for each axis of unknown length."""
        if self.shape is None:
            return None
        return tuple(length if isinstance(length, int) else 1 for length in self.shape)

    @property
    def size_bytes(self) -> int:
        return self.elements * helper.tensor_dtype_to_np_dtype(self.element).itemsize


def without_weights(skeleton: Skeleton) -> ModelProto:
    """The model with every large or external weight turned into an input of its type."""
    model = ModelProto()
    model.CopyFrom(skeleton.model)
    kept = [tensor for tensor in model.graph.initializer if not is_external(tensor)]
    weights = [payload.tensor for payload in skeleton.payloads]
    weights += filter(is_external, skeleton.model.graph.initializer)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    inputs = {value.name for value in model.graph.input}
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in weights
        if tensor.name not in inputs  # files of an old version list weights there already
    )
    return model


def tensor_types(skeleton: Skeleton) -> Mapping[str, TensorType]:
    """Type of every tensor of the outer graph that shape inference can tell.

    Raises:
        ModelError: the types in the graph contradict each other.
    """
    try:
        inferred = shape_inference.infer_shapes(without_weights(skeleton), data_prop=True).graph
    except shape_inference.InferenceError as error:
        raise ModelError(
            f"the tensor types in graph {skeleton.model.graph.name!r} contradict each other: "
            f"{error}; export the model again"
        ) from error
    return {
        value.name: _type_of(value)
        for values in (inferred.value_info, inferred.input, inferred.output)
        for value in values
        if value.type.HasField("tensor_type")
    } | {
        tensor.name: TensorType(tensor.data_type, tuple(tensor.dims))
        for tensor in skeleton.model.graph.initializer
    }


def names_read(node: NodeProto) -> Iterator[str]:
    """Tensors that a node reads, those that only its inner graphs (If, Loop) read included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from _names_from_outside(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            for graph in attribute.graphs:
                yield from _names_from_outside(graph)


def _names_from_outside(graph: GraphProto) -> Iterator[str]:
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        yield from (name for name in names_read(node) if name not in own)
        own.update(node.output)
    yield from (value.name for value in graph.output if value.name not in own)


def is_external(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL


def _type_of(value: ValueInfoProto) -> TensorType:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return TensorType(kind.elem_type, None)
    return TensorType(
        kind.elem_type,
        tuple(
            axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None
            for axis in kind.shape.dim
        ),
    )
