"""A model's signature, rows and a generator go in; one input of that many rows comes out."""

from collections.abc import Mapping

import numpy as np

from cotenant.core.model import Signature, TensorSpec
from cotenant.core.request import Tensor


def draw_inputs(signature: Signature, rows: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
    """Normal floats, small whole numbers, short strings; free inner axes get a usual length."""
    return {spec.name: _draw(spec, rows, rng) for spec in signature.inputs}


def batches(signature: Signature) -> bool:
    """Whether every input leaves its first axis to the request."""
    return all(spec.shape and spec.shape[0] is None for spec in signature.inputs)


def _draw(spec: TensorSpec, rows: int, rng: np.random.Generator) -> Tensor:
    # As an image, 224 pixels a side; as a sequence, 16 steps.
    inner = 224 if len(spec.shape) == 4 else 16
    shape = tuple(
        size if size is not None else (rows if axis == 0 else inner)
        for axis, size in enumerate(spec.shape)
    )
    if spec.dtype == "object":
        return np.full(shape, "text", dtype=object)
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 2 if dtype.kind == "b" else 8, shape).astype(dtype)
