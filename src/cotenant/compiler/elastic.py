"""A kernel's source goes in; the same with two elastic forms of it comes out, for CUDA and OpenCL.

The original kernel K stays as it is. Its body becomes a function of its arguments, one
*logical* block and the *logical* grid, and two kernels call it for one tile after another:

    K_static      each of the physical blocks takes every width-th tile of [begin, end)
    K_preemptive  blocks claim `claim` tiles at a time from `progress` until it reaches `end`, or
                  until the host sets `pause`; a claimed tile is always finished, so that every
                  tile below `progress` is done when the launch has ended, and launching again
                  resumes

Both are launched on one axis: the number of blocks is the width. `progress` may end above
`end`, by at most one claim for each block.

A thread that returns from the body only leaves the function: it meets the others at the
barrier between tiles.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from cotenant.compiler.dialect import Dialect, Triple
from cotenant.compiler.dialect_cuda import Cuda
from cotenant.compiler.dialect_opencl import OpenCl
from cotenant.compiler.obstacles import obstacle
from cotenant.compiler.source import Kernel, Language, find_kernels

STATIC_SUFFIX = "_static"
PREEMPTIVE_SUFFIX = "_preemptive"

_DIALECTS: dict[Language, Dialect] = {Language.CUDA: Cuda(), Language.OPENCL: OpenCl()}


class Rung(StrEnum):
    """How far a kernel can be held back."""

    PREEMPTIVE = "preemptive"
    """It shrinks, and it pauses between tiles."""
    UNMODIFIED = "unmodified"
    """It runs as it is, from its first block to its last."""


class Elastic(NamedTuple):
    """What became of one kernel."""

    kernel: str
    rung: Rung
    reason: str | None
    """Why it was left as it is."""


class ElasticSource(NamedTuple):
    """A source text with elastic forms added, and what became of each of its kernels."""

    text: str
    kernels: tuple[Elastic, ...]


def make_elastic(
    text: str, language: Language, grids: Mapping[str, Triple] = MappingProxyType({})
) -> ElasticSource:
    """Add the two elastic forms of every kernel that can have them.

    Args:
        grids: logical blocks along each axis, of kernels that are always launched with so many.
            Theirs are written into the forms, and a tile's place on an only axis is its number:
            three divisions less for each thread, which a brief kernel feels.

    Raises:
        ModelError: brackets do not match.
    """
    parts, outcome = [text.rstrip() + "\n"], []
    for kernel in find_kernels(text, language):
        reason = obstacle(text, kernel, language)
        if reason is None:
            dialect = _DIALECTS[language]
            grid = grids.get(kernel.name)
            parts.append(dialect.tile(kernel))
            parts += [made(kernel, dialect, grid) for made in (_static, _preemptive)]
        rung = Rung.PREEMPTIVE if reason is None else Rung.UNMODIFIED
        outcome.append(Elastic(kernel.name, rung, reason))
    return ElasticSource("\n".join(parts), tuple(outcome))


def _signature(kernel: Kernel, dialect: Dialect, suffix: str, extra: tuple[str, ...]) -> str:
    sizes = tuple(f"{dialect.unsigned} cotenant_{axis}" for axis in "xyz")
    parameters = ", ".join((*kernel.parameters, *extra, *sizes))
    return f"{kernel.head} {kernel.name}{suffix}({parameters})"


def _call(kernel: Kernel, dialect: Dialect, known: Triple | None) -> str:
    x, y, z = ("cotenant_x", "cotenant_y", "cotenant_z") if known is None else map(_unsigned, known)
    tile = "cotenant_tile"
    place = (f"{tile} % {x}", f"{tile} / {x} % {y}", f"{tile} / {x} / {y}")
    if known is not None and known[1:] == (1, 1):
        place = (tile, "0u", "0u")
    block, grid = (f"{dialect.triple}({', '.join(three)})" for three in (place, (x, y, z)))
    arguments = ", ".join((*dialect.arguments(kernel), block, grid))
    return f"{kernel.name}_tile({arguments});"


def _unsigned(number: int) -> str:
    return f"{number}u"


def _static(kernel: Kernel, dialect: Dialect, grid: Triple | None) -> str:
    ends = tuple(f"{dialect.unsigned} cotenant_{end}" for end in ("begin", "end"))
    body = dialect.static(kernel, grid, _call(kernel, dialect, grid))
    return f"{_signature(kernel, dialect, STATIC_SUFFIX, ends)} {{\n  {body}\n}}\n"


def _preemptive(kernel: Kernel, dialect: Dialect, grid: Triple | None) -> str:
    counts = tuple(f"{dialect.unsigned} cotenant_{count}" for count in ("end", "claim"))
    extra = (dialect.progress, dialect.pause, *counts)
    body = dialect.preemptive(kernel, grid, _call(kernel, dialect, grid))
    return f"{_signature(kernel, dialect, PREEMPTIVE_SUFFIX, extra)} {{\n  {body}\n}}\n"
