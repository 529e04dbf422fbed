"""Cotenant: many neural networks share one machine; critical ones run as if alone.

The public names are those of `cotenant.pipeline`, imported when first used: lanes import this
package, too, and must start quickly.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load", "running"]

if TYPE_CHECKING:
    from cotenant.pipeline import load, running


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("cotenant.pipeline"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
