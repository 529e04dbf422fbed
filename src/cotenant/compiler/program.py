"""The nouns between the compiler's stages: a program is a list of kernels over named values."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cotenant.compiler.source import Language
from cotenant.core.errors import WorkloadError
from cotenant.core.model import TensorSpec

Array = npt.NDArray[np.generic]


class Target(NamedTuple):
    """What kernels are made for."""

    language: Language
    architecture: str | None
    """'sm_87' and the like for CUDA; `None` where the device's own compiler decides."""

    def __str__(self) -> str:
        return f"cuda:{self.architecture}" if self.architecture else "opencl"


def parse_target(text: str) -> Target:
    """A target as people write it.

    >>> parse_target("cuda:sm_87").architecture, str(parse_target("opencl"))
    ('sm_87', 'opencl')
    """
    kind, _, architecture = text.partition(":")
    if text == "opencl":
        return Target(Language.OPENCL, None)
    if kind == "cuda" and architecture.startswith("sm_") and architecture[3:].isdigit():
        return Target(Language.CUDA, architecture)
    raise WorkloadError(
        f"{text!r} is no target; write 'opencl', or 'cuda:' and an architecture: 'cuda:sm_87'"
    )


class Kernel(NamedTuple):
    """One device kernel, as the compiler made it."""

    name: str
    source: str
    grid: tuple[int, int, int]
    """Logical blocks on each axis."""
    block: tuple[int, int, int]
    """Threads of a block on each axis."""
    shared_bytes: int
    """Shared memory that the launch asks for; what the source declares comes on top."""


class Variant(NamedTuple):
    """Another schedule of a kernel: the same arguments and results, other tiles."""

    of: str
    """Name of the kernel that it may stand for; in the source it has that name, too."""
    name: str
    """What tells it from the other variants of that kernel."""
    kernel: Kernel


class Step(NamedTuple):
    """One launch of a kernel."""

    kernel: str
    arguments: tuple[str, ...]
    """Names of values, in the order of the kernel's parameters."""
    writes: frozenset[str] | None = None
    """Those of them that it may write; `None` where any may be."""


class Program(NamedTuple):
    """A whole model, lowered."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    input_values: tuple[str, ...]
    """The value behind each input."""
    output_values: tuple[str, ...]
    sizes_bytes: Mapping[str, int]
    """Of every value that is no constant."""
    constants: Mapping[str, Array]
    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    compiler: str
    """Name and version of what lowered it."""
    variants: tuple[Variant, ...] = ()
