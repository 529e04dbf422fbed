"""A sharing rule goes in, its name and values come out, and in another interpreter the rule again.

It travels as JSON, as everything between the two does.
"""

import importlib
from dataclasses import asdict, is_dataclass
from typing import Any

from cotenant.core.errors import DeviceError
from cotenant.device.sharing import Sharing


def as_values(rule: Sharing) -> dict[str, Any]:
    """Module, class and fields of a rule.

    Raises:
        DeviceError: it is no frozen dataclass at the top level of a module.
    """
    kind = type(rule)
    if not is_dataclass(rule) or isinstance(rule, type) or kind.__qualname__ != kind.__name__:
        raise DeviceError(
            f"sharing rule {kind.__qualname__!r} cannot be sent to a device; make it a frozen "
            "dataclass at the top level of a module"
        )
    return {"module": kind.__module__, "name": kind.__name__, "fields": asdict(rule)}


def from_values(values: dict[str, Any]) -> Sharing:
    """The rule that these values describe."""
    kind = getattr(importlib.import_module(values["module"]), values["name"])
    rule: Sharing = kind(**values["fields"])
    return rule
