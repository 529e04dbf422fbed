"""A model and what its caller says of shapes go in; inputs without a free axis come out."""

from collections.abc import Mapping, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, ValueInfoProto, helper, shape_inference

from cotenant.core.errors import ModelError
from cotenant.core.model import TensorSpec

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""Of values, by name; an axis whose length is not known is 0."""


def bind_inputs(
    model: ModelProto, shapes: Mapping[str, Shape], batch: int
) -> tuple[TensorSpec, ...]:
    """Inputs with every axis fixed: by `shapes`, by the model, or, the first one, by `batch`.

    Raises:
        ModelError: an axis is left free, or a shape does not fit the model.
    """
    weights = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    unknown = set(shapes) - {value.name for value in inputs}
    if unknown:
        raise ModelError(
            f"the model has no input {min(unknown)!r} to give a shape; it has "
            f"{', '.join(repr(value.name) for value in inputs)}"
        )
    return tuple(_bound(value, shapes.get(value.name), batch) for value in inputs)


def known_shapes(model: ModelProto, inputs: Sequence[TensorSpec]) -> Shapes:
    """What is known of a graph's values once its inputs have these shapes."""
    bound = ModelProto()
    bound.CopyFrom(model)
    del bound.graph.value_info[:]  # what is noted there may have axes that are bound by now
    fixed = {spec.name: spec.shape for spec in inputs}
    for value in bound.graph.input:
        axes = value.type.tensor_type.shape.dim
        for axis, length in zip(axes, fixed.get(value.name, ()), strict=False):
            axis.dim_value = length or 0
    inferred = shape_inference.infer_shapes(bound, data_prop=True).graph
    return {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for values in (inferred.value_info, inferred.input)
        for value in values
        if value.type.tensor_type.HasField("shape")
    } | {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}


def with_input_names(model: ModelProto, names: Mapping[str, str]) -> ModelProto:
    """The model with inputs renamed, wherever they are read."""
    renamed = ModelProto()
    renamed.CopyFrom(model)
    for value in renamed.graph.input:
        value.name = names.get(value.name, value.name)
    for value in renamed.graph.output:
        value.name = names.get(value.name, value.name)
    _rename_reads(renamed.graph, names)
    return renamed


def _rename_reads(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _rename_reads(attribute.g, names)


def _bound(value: ValueInfoProto, given: Shape | None, batch: int) -> TensorSpec:
    axes = value.type.tensor_type.shape.dim
    fixed = [axis.dim_value if axis.dim_value > 0 else None for axis in axes]  # some write -1
    shown = "x".join(
        str(length or axis.dim_param or "?") for axis, length in zip(axes, fixed, strict=True)
    )
    if fixed and fixed[0] is None:
        fixed[0] = batch if given is None else None
    if given is not None:
        if len(given) != len(fixed) or any(
            have not in (None, want) for have, want in zip(fixed, given, strict=True)
        ):
            raise ModelError(
                f"input {value.name!r} has shape {shown}; {'x'.join(map(str, given))} does not "
                "fit it; give every axis, and keep those that the model fixes"
            )
        fixed = list(given)
    shape = tuple(length for length in fixed if length is not None)
    if len(shape) != len(fixed):
        raise ModelError(
            f"input {value.name!r} has shape {shown}, and kernels need every axis fixed; bind "
            f"it with: --shape {value.name}="
            + "x".join("N" if length is None else str(length) for length in fixed)
        )
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return TensorSpec(value.name, dtype.name, shape)
