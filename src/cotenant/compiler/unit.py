"""What one fused function became goes in; it comes back from a file in the next compilation."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from cotenant.compiler.program import Kernel


class Call(NamedTuple):
    """One launch inside of a fused function."""

    kernel: str
    arguments: tuple[int | str, ...]
    """A number is a parameter of the function, a name one of its workspaces."""


class Unit(NamedTuple):
    """One fused function: its kernels, and how they are launched."""

    kernels: tuple[Kernel, ...]
    calls: tuple[Call, ...]
    workspaces: Mapping[str, int]
    """Bytes of each piece of scratch memory."""


class UnitCache:
    """Keeps units in a folder, by the hash of all that they depend on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, key: str, build: Callable[[], Unit]) -> Unit:
        """The unit of this key; it is built if it is not there or damaged."""
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        try:
            return _read(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            unit = build()
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{id(unit)}.partial")
        partial.write_text(json.dumps(_written(unit)), encoding="utf-8")
        partial.replace(path)
        return unit


def _written(unit: Unit) -> dict[str, object]:
    return {
        "kernels": [kernel._asdict() for kernel in unit.kernels],
        "calls": [call._asdict() for call in unit.calls],
        "workspaces": dict(unit.workspaces),
    }


def _read(text: str) -> Unit:
    noted = json.loads(text)
    return Unit(
        tuple(
            Kernel(
                one["name"],
                one["source"],
                tuple(one["grid"]),
                tuple(one["block"]),
                one["shared_bytes"],
            )
            for one in noted["kernels"]
        ),
        tuple(Call(one["kernel"], tuple(one["arguments"])) for one in noted["calls"]),
        dict(noted["workspaces"]),
    )
