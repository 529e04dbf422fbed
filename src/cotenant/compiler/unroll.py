"""A model with recurrent layers goes in; the same with one step after another comes out.

The compiler's front end knows no RNN, GRU or LSTM. Each becomes products, sums and
activations: what the inputs give to the gates is one product for all steps, since it waits
for nothing; what the state gives is one product for each step. A step finds its row with an
index that is a tensor and no number in the graph, so that all steps share their kernels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from cotenant.compiler.bind import Shapes, known_shapes
from cotenant.compiler.cells import KINDS, Cell, State, Weights
from cotenant.core.errors import ModelError
from cotenant.core.model import TensorSpec

STEPS_MAX = 1024
"""Each step is a few launches; a longer sequence is better cut by the caller."""

_ONNX = ("", "ai.onnx")
_CONCAT_MAX = 32  # each part is an argument of a kernel, and devices limit those
_ACTIVATIONS = ("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")


def unroll(model: ModelProto, inputs: Sequence[TensorSpec]) -> ModelProto:
    """The model without recurrent layers, for inputs of these shapes.

    Raises:
        ModelError: a layer has an attribute that is not known here, or too many steps.
    """
    if not any(node.op_type in KINDS for node in model.graph.node):
        return model
    opset = max((one.version for one in model.opset_import if one.domain in _ONNX), default=1)
    shapes = known_shapes(model, inputs)
    unrolled = ModelProto()
    unrolled.CopyFrom(model)
    del unrolled.graph.node[:]
    for number, node in enumerate(model.graph.node):
        if node.op_type in KINDS:
            write = _GraphWriter(unrolled.graph, f"unrolled{number}", opset)
            _Layer(node, shapes, write).unroll()
        else:
            unrolled.graph.node.append(node)
    return unrolled


class _GraphWriter:
    """Appends nodes and constants to a graph, and names what they make."""

    def __init__(self, graph: GraphProto, prefix: str, opset: int) -> None:
        self._graph = graph
        self._prefix = prefix
        self._opset = opset
        self._count = 0
        self._cuts: dict[tuple[str, int, int], str] = {}

    def __call__(self, kind: str, *read: str, **attributes: Any) -> str:
        name = self._new()
        self._graph.node.append(helper.make_node(kind, read, [name], name=name, **attributes))
        return name

    def constant(self, value: npt.NDArray[np.generic]) -> str:
        name = self._new()
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def cut(self, value: str, begin: int, end: int) -> str:
        if (value, begin, end) not in self._cuts:
            if self._opset < 10:
                made = self("Slice", value, starts=[begin], ends=[end], axes=[-1])
            else:
                made = self("Slice", value, *map(self._list, ([begin], [end], [-1])))
            self._cuts[value, begin, end] = made
        return self._cuts[value, begin, end]

    def reshape(self, value: str, *shape: int) -> str:
        return self("Reshape", value, self._list(shape))

    def row(self, value: str, at: int) -> str:
        """[1, ...] of [steps, ...]"""
        if self._opset < 11:
            return self("Gather", value, self._list([at]), axis=0)
        return self("GatherND", value, self.constant(np.array([[at]], np.int64)))

    def picked(self, value: str, at: int) -> str:
        """[...] of [directions, ...]"""
        return self("Gather", value, self.constant(np.array(at, np.int64)), axis=0)

    def joined(self, parts: Sequence[str], axis: int) -> str:
        while len(parts) > 1:
            groups = [parts[at : at + _CONCAT_MAX] for at in range(0, len(parts), _CONCAT_MAX)]
            parts = [self("Concat", *group, axis=axis) for group in groups]
        return parts[0]

    def give(self, value: str, name: str) -> None:
        self._graph.node.append(helper.make_node("Identity", [value], [name], name=self._new()))

    def _list(self, numbers: Sequence[int]) -> str:
        return self.constant(np.array(numbers, np.int64))

    def _new(self) -> str:
        self._count += 1
        return f"{self._prefix}_{self._count}"


class _Layer:
    """One recurrent node."""

    def __init__(self, node: NodeProto, shapes: Shapes, write: _GraphWriter) -> None:
        self._node = node
        self._write = write
        self._kind = KINDS[node.op_type]
        self._set = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        self._rows_first = bool(self._set.get("layout", 0))
        signal, weight, recurrence = (shapes.get(name, (0,)) for name in node.input[:3])
        if not all((*signal, *weight, *recurrence)):
            raise self._refused("has a shape that is not known before it runs")
        self._rows, self._steps = signal[:2] if self._rows_first else signal[1::-1]
        self._features, self._units = weight[2], recurrence[2]
        if self._steps > STEPS_MAX:
            raise self._refused(f"has {self._steps} steps, and at most {STEPS_MAX} are unrolled")
        way = _text(self._set.get("direction", "forward"))
        self._backwards = {"forward": (False,), "reverse": (True,)}.get(way, (False, True))
        for name in ("clip", "input_forget", "activation_alpha", "activation_beta"):
            if self._set.get(name):
                raise self._refused(f"has attribute {name!r}, which is not known here")
        self._activations = self._chosen_activations()
        if self._input(4) is not None:
            raise self._refused("takes lengths of its sequences, which are only known when it runs")

    def unroll(self) -> None:
        write = self._write
        signal = self._node.input[0]
        if self._rows_first:
            signal = write("Transpose", signal, perm=[1, 0, 2])
        flat = write.reshape(signal, self._steps * self._rows, self._features)
        ways = [self._way(number, flat) for number in range(len(self._backwards))]
        whole, hidden, cell, *_ = (*self._node.output, "", "", "")
        if whole:
            shape = (self._steps, 1, self._rows, self._units)
            parts = [
                write.reshape(write.joined([s.hidden for s in way], 0), *shape) for way in ways
            ]
            made = write.joined(parts, 1)
            if self._rows_first:
                made = write("Transpose", made, perm=[2, 0, 1, 3])
            write.give(made, whole)
        lasts = [
            way[0] if backwards else way[-1]
            for way, backwards in zip(ways, self._backwards, strict=True)
        ]
        if hidden:
            self._give_last([state.hidden for state in lasts], hidden)
        if cell:
            self._give_last([state.cell or "" for state in lasts], cell)

    def _way(self, number: int, flat: str) -> list[State]:
        """The states after each step of one direction, in the order of the sequence."""
        write, width = self._write, self._kind.gates * self._units
        weight, recurrence = (
            write("Transpose", write.picked(self._node.input[at], number), perm=[1, 0])
            for at in (1, 2)
        )
        given = write("MatMul", flat, weight)
        hidden_bias = None
        if (biases := self._input(3)) is not None:
            both = write.picked(biases, number)
            first, second = write.cut(both, 0, width), write.cut(both, width, 2 * width)
            if self._resets_late():
                hidden_bias = write.cut(second, 2 * self._units, width)
                early = write.cut(second, 0, 2 * self._units)
                nothing = write.constant(np.zeros(self._units, np.float32))
                second = write("Concat", early, nothing, axis=0)
            given = write("Add", given, write("Add", first, second))
        elif self._resets_late():
            hidden_bias = write.constant(np.zeros(self._units, np.float32))
        given = write.reshape(given, self._steps, self._rows, width)
        peepholes = self._input(7)
        peephole = write.picked(peepholes, number) if peepholes is not None else None
        count = len(self._kind.activations)
        cell = Cell(
            write,
            self._units,
            self._activations[number * count : (number + 1) * count],
            Weights(recurrence, hidden_bias, peephole),
        )
        has_cell = self._node.op_type == "LSTM"
        state = State(self._first(5, number), self._first(6, number) if has_cell else None)
        order = range(self._steps)
        states: dict[int, State] = {}
        for step in reversed(order) if self._backwards[number] else order:
            state = states[step] = self._kind.step(cell, write.row(given, step), state)
        return [states[step] for step in order]

    def _first(self, at: int, number: int) -> str:
        """A state before the first step: given, or zero."""
        shape = (1, self._rows, self._units)
        given = self._input(at)
        if given is None:
            return self._write.constant(np.zeros(shape, np.float32))
        if self._rows_first:
            given = self._write("Transpose", given, perm=[1, 0, 2])
        return self._write.reshape(self._write.picked(given, number), *shape)

    def _give_last(self, parts: list[str], name: str) -> None:
        made = self._write.joined(parts, 0)
        if self._rows_first:
            made = self._write("Transpose", made, perm=[1, 0, 2])
        self._write.give(made, name)

    def _chosen_activations(self) -> tuple[str, ...]:
        wanted = len(self._kind.activations) * len(self._backwards)
        named = [_text(one) for one in self._set.get("activations", ())]
        known = {name.lower(): name for name in _ACTIVATIONS}
        unknown = [name for name in named if name.lower() not in known]
        if unknown or len(named) not in (0, wanted):
            raise self._refused(
                f"has activations {', '.join(named)}; known are {wanted} of "
                f"{', '.join(_ACTIVATIONS)}"
            )
        return tuple(known[name.lower()] for name in named) or (
            self._kind.activations * len(self._backwards)
        )

    def _resets_late(self) -> bool:
        return bool(self._set.get("linear_before_reset", 0))

    def _input(self, at: int) -> str | None:
        """Name of an optional input."""
        return (self._node.input[at] or None) if at < len(self._node.input) else None

    def _refused(self, what: str) -> ModelError:
        name = self._node.name or next(filter(None, self._node.output))
        return ModelError(
            f"{self._node.op_type} (node {name!r}) {what}; "
            "export the model without it, or serve it on the CPU"
        )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
