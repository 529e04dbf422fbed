"""A sharing rule goes in, its name and values come out, and in another interpreter the rule again.

It travels as JSON, as everything between the two does.
"""

import importlib
from dataclasses import fields, is_dataclass
from typing import Any

from cotenant.core.errors import DeviceError
from cotenant.device.sharing import Sharing


def as_values(rule: Sharing) -> dict[str, Any]:
    """Module, class and fields of a rule.

    Raises:
        DeviceError: it is no frozen dataclass at the top level of a module.
    """
    kind: type[Any] = type(rule)
    if not is_dataclass(kind) or kind.__qualname__ != kind.__name__:
        raise DeviceError(
            f"sharing rule {kind.__qualname__!r} cannot be sent to a device; make it a frozen "
            "dataclass at the top level of a module"
        )
    values = {field.name: getattr(rule, field.name) for field in fields(kind)}
    return {"module": kind.__module__, "name": kind.__name__, "fields": values}


def from_values(values: dict[str, Any]) -> Sharing:
    """The rule that these values describe."""
    kind = getattr(importlib.import_module(values["module"]), values["name"])
    rule: Sharing = kind(**values["fields"])
    return rule
