"""The kind of a recurrent layer goes in; its gates and one step of it, as ONNX nodes, come out.

    RNN   h' = f(Wx + Rh + b)
    GRU   z, r = f(Wx + Rh + b);  n = g(Wx + R(r*h) + b), or g(Wx + wb + r*(Rh + rb)) if
          linear_before_reset;  h' = (1 - z)*n + z*h
    LSTM  i, f = f(Wx + Rh + b + p*c);  n = g(Wx + Rh + b);  c' = f*c + i*n;
          o = f(Wx + Rh + b + p*c');  h' = o*h(c')

The products with x, and all biases that can be, are given to a step already summed.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class Writer(Protocol):
    """Appends a node or a constant to a graph; the name of its result comes back."""

    def __call__(self, kind: str, *read: str, **attributes: object) -> str: ...

    def constant(self, value: npt.NDArray[np.generic]) -> str: ...

    def cut(self, value: str, begin: int, end: int) -> str:
        """A range of the last axis."""


class State(NamedTuple):
    """What a step leaves to the next; each is [1, batch, units]."""

    hidden: str
    cell: str | None


class Weights(NamedTuple):
    """Of one layer in one direction."""

    recurrence: str
    """[units, gates * units]"""
    hidden_bias: str | None
    """[units]; what a GRU adds before its reset gate multiplies."""
    peephole: str | None
    """[3 * units]"""


class Cell(NamedTuple):
    """One layer's kind, with all that its steps share."""

    write: Writer
    units: int
    activations: tuple[str, ...]
    """ONNX operators without attributes."""
    weights: Weights


Step = Callable[[Cell, str, State], State]
"""The inputs' part of the gates, [1, batch, gates * units], and the state before."""


def _rnn(cell: Cell, given: str, state: State) -> State:
    write = cell.write
    summed = write("Add", given, write("MatMul", state.hidden, cell.weights.recurrence))
    return State(write(cell.activations[0], summed), None)


def _gru(cell: Cell, given: str, state: State) -> State:
    write, (f, g), units = cell.write, cell.activations, cell.units
    recurrence, hidden_bias, _ = cell.weights
    if hidden_bias is None:
        gates = write("MatMul", state.hidden, write.cut(recurrence, 0, 2 * units))
    else:
        product = write("MatMul", state.hidden, recurrence)
        gates = write.cut(product, 0, 2 * units)
    update, reset = (
        write(f, write("Add", write.cut(given, begin, end), write.cut(gates, begin, end)))
        for begin, end in ((0, units), (units, 2 * units))
    )
    if hidden_bias is None:
        before = write("Mul", reset, state.hidden)
        held = write("MatMul", before, write.cut(recurrence, 2 * units, 3 * units))
    else:
        candidate = write("Add", write.cut(product, 2 * units, 3 * units), hidden_bias)
        held = write("Mul", reset, candidate)
    new = write(g, write("Add", write.cut(given, 2 * units, 3 * units), held))
    # (1 - z)*n + z*h
    return State(
        write("Add", new, write("Mul", update, write("Sub", state.hidden, new))),
        None,
    )


def _lstm(cell: Cell, given: str, state: State) -> State:
    write, (f, g, h), units = cell.write, cell.activations, cell.units
    summed = write("Add", given, write("MatMul", state.hidden, cell.weights.recurrence))
    enter, leave, forget, new = (
        write.cut(summed, gate * units, (gate + 1) * units) for gate in range(4)
    )

    def peeped(gate: str, at: int, cell_state: str) -> str:
        if cell.weights.peephole is None:
            return write(f, gate)
        peephole = write.cut(cell.weights.peephole, at * units, (at + 1) * units)
        return write(f, write("Add", gate, write("Mul", peephole, cell_state)))

    before = state.cell or ""
    kept = write("Mul", peeped(forget, 2, before), before)
    after = write("Add", kept, write("Mul", peeped(enter, 0, before), write(g, new)))
    return State(write("Mul", peeped(leave, 1, after), write(h, after)), after)


class Kind(NamedTuple):
    """A kind of recurrent layer."""

    gates: int
    activations: tuple[str, ...]
    """Where the node names none."""
    step: Step


KINDS: Mapping[str, Kind] = {
    "RNN": Kind(1, ("Tanh",), _rnn),
    "GRU": Kind(3, ("Sigmoid", "Tanh"), _gru),
    "LSTM": Kind(4, ("Sigmoid", "Tanh", "Tanh"), _lstm),
}
