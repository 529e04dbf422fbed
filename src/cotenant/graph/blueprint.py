"""A graph and the shapes of its weights go in; a `Blueprint` comes out: a model yet to be drawn.

Everything that can be told about a network without its values (shapes, parameters, size) is
told from its blueprint; the values are drawn only when a file is written.
"""

from collections.abc import Mapping
from typing import NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from cotenant.graph.draw import Weight, draw, place
from cotenant.graph.wire import Payload, Skeleton

_FLOAT_BYTES = 4
_UNRECTIFIED = ("Sum", "Softmax")


class Blueprint(NamedTuple):
    """A network without the values of its weights."""

    name: str
    model: ModelProto
    """Graph, inputs, outputs and the small constants that fix shapes; no weights."""
    weights: tuple[Weight, ...]

    @property
    def parameters(self) -> int:
        return sum(weight.size for weight in self.weights)

    def skeleton(self, seed: int = 0) -> Skeleton:
        """The model with its weights, drawn piece by piece when they are written."""
        return Skeleton(
            self.model,
            tuple(
                Payload(
                    tensor=TensorProto(
                        name=weight.name, data_type=TensorProto.FLOAT, dims=weight.shape
                    ),
                    size_bytes=weight.size * _FLOAT_BYTES,
                    pieces=draw(weight, f"{self.name}/{seed}"),
                )
                for weight in self.weights
            ),
        )


def blueprint(name: str, model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> Blueprint:
    """Give each weight of `shapes` its distribution, by the node that reads it first."""
    damped = _damped(model.graph)
    weights: dict[str, Weight] = {}
    for node in model.graph.node:
        for index, read in enumerate(node.input):
            if read in shapes and read not in weights:
                weights[read] = place(
                    read,
                    shapes[read],
                    node,
                    index,
                    damped=any(output in damped for output in node.output),
                )
    return Blueprint(name, model, tuple(weights.values()))


def _damped(graph: GraphProto) -> frozenset[str]:
    readers: list[NodeProto] = [node for node in graph.node if node.op_type in _UNRECTIFIED]
    unrectified = {read for node in readers for read in node.input}
    return frozenset(unrectified | {output.name for output in graph.output})
