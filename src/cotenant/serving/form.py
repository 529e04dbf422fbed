"""A model's signature becomes its `Form`: what a request must look like, ready to check fast."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cotenant.core.errors import InvalidRequest, RequestTooLarge
from cotenant.core.model import Signature, TensorSpec
from cotenant.core.request import Tensor, Tensors
from cotenant.serving import codec


class GivenTensor(NamedTuple):
    """An input as a client sent it: raw bytes or a list of values, never both."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: codec.Raw | None
    values: Sequence[Any] | None


class Slot(NamedTuple):
    """One input or output of a model, in the protocol's terms."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    @property
    def wire_shape(self) -> list[int]:
        """The shape as metadata show it: -1 for an axis that each request chooses."""
        return [-1 if length is None else length for length in self.shape]


class Form(NamedTuple):
    """What requests to one model must look like, and what their answers hold."""

    model: str
    inputs: Mapping[str, Slot]
    outputs: Mapping[str, Slot]
    batched: bool
    """The first axis of every input counts the rows of a batch."""
    max_rows: int
    max_tensor_bytes: int

    @classmethod
    def of(cls, model: str, signature: Signature, max_rows: int, max_tensor_bytes: int) -> "Form":
        inputs = {spec.name: _slot(spec) for spec in signature.inputs}
        batched = max_rows > 1 and all(
            slot.shape and slot.shape[0] is None for slot in inputs.values()
        )
        outputs = {spec.name: _slot(spec) for spec in signature.outputs}
        return cls(model, inputs, outputs, batched, max_rows, max_tensor_bytes)

    def read(self, given: Sequence[GivenTensor]) -> tuple[Tensors, int]:
        """Check every input and turn it into an array; also the rows that they fill."""
        tensors: dict[str, Tensor] = {}
        rows = 1
        for tensor in given:
            slot = self.inputs.get(tensor.name)
            if slot is None:
                raise InvalidRequest(
                    f"unexpected input {tensor.name!r}; model {self.model!r} takes "
                    f"{_listed(self.inputs)}"
                )
            if tensor.name in tensors:
                raise InvalidRequest(f"input {tensor.name!r} is given twice; send it once")
            tensors[tensor.name] = self._read_one(tensor, slot)
            if self.batched:
                if len(tensors) > 1 and tensor.shape[0] != rows:
                    raise InvalidRequest(
                        f"input {tensor.name!r} has {tensor.shape[0]} rows and another input "
                        f"{rows}; all inputs of a request must have the same number"
                    )
                rows = tensor.shape[0]
        if len(tensors) < len(self.inputs):
            missing = [name for name in self.inputs if name not in tensors]
            raise InvalidRequest(
                f"missing input {_listed(missing)}; model {self.model!r} takes "
                f"{_listed(self.inputs)}"
            )
        if not 1 <= rows <= self.max_rows:
            raise InvalidRequest(
                f"a batch of {rows} rows was sent to model {self.model!r}; "
                f"send 1 to {self.max_rows}"
            )
        return tensors, rows

    def chosen(self, names: Sequence[str]) -> Sequence[Slot]:
        """The outputs that a client asked for; all of them when it named none."""
        if not names:
            return tuple(self.outputs.values())
        unknown = [name for name in names if name not in self.outputs]
        if unknown:
            raise InvalidRequest(
                f"unexpected output {_listed(unknown)}; model {self.model!r} gives "
                f"{_listed(self.outputs)}"
            )
        if len(set(names)) < len(names):
            raise InvalidRequest("an output is asked for twice; ask for it once")
        return tuple(self.outputs[name] for name in names)

    def raw_input(self, body: codec.Raw) -> GivenTensor:
        """The tensor of a body that is nothing but one input's bytes; its shape is worked out."""
        if len(self.inputs) != 1:
            raise InvalidRequest(
                f"a raw body fits models with one input; model {self.model!r} takes "
                f"{_listed(self.inputs)}; send a JSON header too"
            )
        slot = next(iter(self.inputs.values()))
        if slot.dtype.hasobject:
            # One element, and its length is the body's: no 4-byte length stands before it.
            shape = tuple(length or 1 for length in slot.shape)
            return GivenTensor(slot.name, slot.datatype, shape, None, [bytes(body)])
        free = [axis for axis, length in enumerate(slot.shape) if length is None]
        if len(free) > 1 and free[0] == 0:
            free = free[1:]
        if len(free) > 1:
            raise InvalidRequest(
                f"input {slot.name!r} has shape {slot.wire_shape}, which the length of a raw "
                "body does not settle; send a JSON header with the shape"
            )
        fixed = [length or 1 for length in slot.shape]
        if free:
            row_bytes = math.prod(fixed) * slot.dtype.itemsize
            fixed[free[0]] = len(body) // row_bytes if row_bytes else 0
        return GivenTensor(slot.name, slot.datatype, tuple(fixed), body, None)

    def _read_one(self, tensor: GivenTensor, slot: Slot) -> Tensor:
        if tensor.datatype != slot.datatype:
            raise InvalidRequest(
                f"input {slot.name!r} of model {self.model!r} is {slot.datatype}; "
                f"{tensor.datatype or 'no datatype'} was sent"
            )
        shape = tensor.shape
        if len(shape) != len(slot.shape) or any(
            length != wanted if wanted is not None else length < 0
            for length, wanted in zip(shape, slot.shape, strict=True)
        ):
            raise InvalidRequest(
                f"input {slot.name!r} of model {self.model!r} has shape {slot.wire_shape}; "
                f"{list(shape)} was sent"
            )
        # Empty axes count as one here: numpy refuses shapes whose other axes overflow.
        if math.prod(length or 1 for length in shape) * slot.dtype.itemsize > self.max_tensor_bytes:
            raise RequestTooLarge(
                f"input {slot.name!r} of shape {list(shape)} is over the limit of "
                f"{self.max_tensor_bytes} bytes; raise it with --max-body-size"
            )
        count = math.prod(shape)
        try:
            if tensor.raw is not None:
                return codec.decode_raw(tensor.raw, slot.dtype, shape, count)
            return codec.decode_values(tensor.values or (), slot.dtype, shape, count)
        except InvalidRequest as error:
            raise InvalidRequest(f"input {slot.name!r} {error}") from error


def _slot(spec: TensorSpec) -> Slot:
    datatype = codec.datatype_of(spec.dtype)
    return Slot(spec.name, datatype, codec.wire_dtype(spec.dtype), spec.shape)


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in names)
