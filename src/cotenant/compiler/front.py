"""A model file and a target go in; its program comes out, or what to install for that."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from cotenant.compiler.bind import Shape
from cotenant.compiler.program import Program, Target
from cotenant.compiler.unit import UnitCache
from cotenant.core.errors import Unsupported

Report = Callable[[str, int, int], None]
"""Told what is built, how many kernels are done, and how many there are."""


def lower_model(
    path: Path,
    target: Target,
    *,
    shapes: Mapping[str, Shape],
    batch: int,
    cache: UnitCache,
    tell: Report,
) -> Program:
    """Compile a model file with the compiler that is installed.

    Raises:
        Unsupported: there is none.
        ModelError: the front end lacks an operator, or an axis is still free.
    """
    try:  # imported here, since it is large and an extra of the installation
        lower = importlib.import_module("cotenant.compiler.lower").lower
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"compiling needs {error.name!r}, which is not installed; "
            "run: pip install 'cotenant[compile]'"
        ) from error
    program: Program = lower(path, target, shapes=shapes, batch=batch, cache=cache, tell=tell)
    return program
