"""A neural network as the outside sees it: names, types and shapes of its tensors."""

from typing import NamedTuple


class TensorSpec(NamedTuple):
    """One input or output of a model."""

    name: str
    dtype: str
    """Numpy's name of the element type ('float32'), or 'object' for strings."""
    shape: tuple[int | None, ...]
    """One entry per axis; `None` is an axis whose length each request chooses."""


class Signature(NamedTuple):
    """What a model takes and gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class ModelFiles(NamedTuple):
    """The files behind a task: found, checked, and cut into segments."""

    paths: tuple[str, ...]
    """One for each segment, in the order in which they run."""
    outputs: tuple[str, ...] | None = None
    """Names of the whole model's outputs, where its last segment alone does not tell."""
