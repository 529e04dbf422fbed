"""The name of an architecture in the `onnx` package goes in; its clean blueprint comes out.

The package ships nine published networks whose weights are `ConstantOfShape` nodes, all of
one value, with a fixed batch of one. Here those nodes become weights yet to be drawn, weights
are stored in the shape in which they are read, and the batch axis becomes dynamic.
"""

from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cotenant.core.errors import ModelError
from cotenant.graph.blueprint import Blueprint, blueprint

BATCH = "batch"
IR_VERSION = 8  # from version 4 on, weights need not be listed as graph inputs

Shapes = dict[str, tuple[int, ...]]


def light_blueprint(name: str, file_name: str) -> Blueprint:
    """Read one of the architectures that the `onnx` package ships.

    Raises:
        ModelError: the package was installed without them.
    """
    path = Path(onnx.__file__).parent / "backend/test/data/light" / file_name
    if not path.is_file():
        raise ModelError(
            f"'zoo:{name}' is built from {file_name!r}, which this installation of 'onnx' "
            f"{onnx.__version__} lacks at {str(path.parent)!r}; reinstall it from its wheel"
        )
    source = onnx.load(path).graph
    constants = {tensor.name: tensor for tensor in source.initializer}
    shapes = _weight_shapes(source, constants)
    nodes = _without_constants(source, shapes)
    _free_the_batch(nodes, constants)
    kept = {read for node in nodes for read in node.input}
    graph = helper.make_graph(
        nodes,
        name,
        [_batched(value) for value in source.input if value.name not in constants],
        [_batched(value) for value in source.output],
        [constants[read] for read in sorted(kept & constants.keys() - shapes.keys())],
    )
    model: ModelProto = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", 9)],
        producer_name="cotenant",
    )
    return blueprint(name, model, shapes)


def _weight_shapes(source: GraphProto, constants: dict[str, TensorProto]) -> Shapes:
    """Shape of everything that is a weight, as read by the node that computes with it."""
    shapes: Shapes = {
        name: tuple(tensor.dims)
        for name, tensor in constants.items()
        if tensor.data_type == TensorProto.FLOAT
    }
    for node in source.node:
        if node.op_type == "ConstantOfShape":
            shape = numpy_helper.to_array(constants[node.input[0]])
            shapes[node.output[0]] = tuple(int(length) for length in shape)
        elif node.op_type == "Reshape" and node.input[0] in shapes:
            shape = numpy_helper.to_array(constants[node.input[1]])
            shapes[node.output[0]] = tuple(int(length) for length in shape)
        elif node.op_type == "Unsqueeze" and node.input[0] in shapes:
            shapes[node.output[0]] = _unsqueezed(shapes[node.input[0]], node)
    return shapes


def _unsqueezed(shape: tuple[int, ...], node: NodeProto) -> tuple[int, ...]:
    lengths = list(shape)
    for axis in sorted(helper.get_node_attr_value(node, "axes")):
        lengths.insert(axis, 1)
    return tuple(lengths)


def _without_constants(source: GraphProto, shapes: Shapes) -> list[NodeProto]:
    return [node for node in source.node if node.output[0] not in shapes]


def _free_the_batch(nodes: list[NodeProto], constants: dict[str, TensorProto]) -> None:
    """Let every `Reshape` copy the first axis (length 0) where it had fixed it to one."""
    for node in nodes:
        if node.op_type == "Reshape":
            shape = numpy_helper.to_array(constants[node.input[1]]).copy()
            if shape[0] == 1:
                shape[0] = 0
            constants[node.input[1]] = numpy_helper.from_array(shape, node.input[1])


def _batched(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    batched = onnx.ValueInfoProto()
    batched.CopyFrom(value)
    batched.type.tensor_type.shape.dim[0].dim_param = BATCH
    return batched
