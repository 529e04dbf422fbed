"""A model with bound inputs goes in; the same with its arithmetic on shapes done comes out.

Exporters that keep axes free compute lengths in the graph: `Shape`, a few operators on its
numbers, `Reshape` to the result. Once all inputs have their shapes these are constants, and
they have to be: kernels have no free axis, and the compiler's front end takes few of these
operators on shapes. Only what is small is folded here; weights are the front end's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import RuntimeImplementationError

from cotenant.compiler.bind import Shapes, known_shapes
from cotenant.core.model import TensorSpec

_ONNX = ("", "ai.onnx")
_ELEMENTS_MAX = 4096
"""Of a constant that is looked at; shapes have a few, and weights are not copied."""

_DRAWN = {
    *("Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike"),
    *("RandomUniform", "RandomUniformLike"),
}

Values = dict[str, npt.NDArray[Any]]


def fold_shapes(model: ModelProto, inputs: Sequence[TensorSpec]) -> ModelProto:
    """The model without the nodes that only compute what the shapes of its inputs settle."""
    if not any(node.op_type == "Shape" for node in model.graph.node):
        return model
    folded = ModelProto()
    folded.CopyFrom(model)
    while True:  # a shape that is settled may settle the next one
        made = _settled(folded, known_shapes(folded, inputs))
        if not made:
            return folded
        nodes = [node for node in folded.graph.node if node.output[0] not in made]
        del folded.graph.node[:]
        folded.graph.node.extend(nodes)
        folded.graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in made.items()
        )


def _settled(model: ModelProto, shapes: Shapes) -> Values:
    """Values that nodes make of shapes and small constants, but for the graph's own outputs."""
    graph = model.graph
    given = {value.name for value in graph.output}
    known = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if np.prod(tensor.dims) <= _ELEMENTS_MAX
    }
    made: Values = {}
    for node in graph.node:
        if node.domain not in _ONNX or given.intersection(node.output):
            continue
        found = _value(node, known, shapes, model)
        if found is not None and found.size <= _ELEMENTS_MAX:
            made[node.output[0]] = known[node.output[0]] = found
    return made


def _value(
    node: NodeProto, known: Mapping[str, npt.NDArray[Any]], shapes: Shapes, model: ModelProto
) -> npt.NDArray[Any] | None:
    if node.op_type == "Shape":
        shape = shapes.get(node.input[0])
        if shape is None or not all(shape):
            return None
        ends = {one.name: one.i for one in node.attribute}
        return np.array(shape[ends.get("start", 0) : ends.get("end", len(shape))], np.int64)
    read = [name for name in node.input if name]
    if len(node.output) != 1 or any(name not in known for name in read):
        return None
    if any(one.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for one in node.attribute):
        return None
    if node.op_type in _DRAWN:
        return None
    graph = helper.make_graph(
        [node],
        "node",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(known[name].dtype), known[name].shape
            )
            for name in dict.fromkeys(read)
        ],
        [ValueInfoProto(name=node.output[0])],
    )
    alone = helper.make_model(graph, opset_imports=model.opset_import)
    try:
        (value,) = ReferenceEvaluator(alone).run(None, {name: known[name] for name in read})
    except RuntimeImplementationError:
        return None  # onnx has no evaluation of it
    return np.asarray(value)
