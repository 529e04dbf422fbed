"""A kind goes in; every device of it comes out, asked in an interpreter apart.

A driver is foreign code that starts threads and may end its caller, so the front never loads it.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable
from typing import NamedTuple

from cotenant.core.errors import DeviceError
from cotenant.device.elastic.kind import Kind


class Found(NamedTuple):
    """One device; its place in the list is its number."""

    name: str
    units: int
    memory_bytes: int
    target: str
    """What to compile for it."""


def find_devices(kind: Kind) -> tuple[Found, ...]:
    """All devices of a kind, graphics processors first.

    Raises:
        DeviceError: its package or its driver is missing, or has brought down who asked it.
    """
    if not _is_there(kind.package):
        raise DeviceError(f"{kind.title} needs the Python package {kind.package}; {kind.remedy}")
    asked = subprocess.run(
        [sys.executable, "-m", f"{kind.room}.list"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        raise DeviceError(
            f"listing the {kind.title} devices ended with status {asked.returncode}; a driver may "
            f"be damaged: {asked.stderr.strip()[-500:]}"
        )
    told = json.loads(asked.stdout)
    if "refused" in told:
        raise DeviceError(told["refused"])
    return tuple(Found(**one) for one in told["devices"])


def listing(found: Iterable[Found]) -> str:
    """What a room's program `list` prints."""
    return json.dumps({"devices": [one._asdict() for one in found]})


def refused(why: str) -> str:
    """The same where no device can be listed."""
    return json.dumps({"refused": why})


def device_of(kind: Kind, found: tuple[Found, ...], component: str, number: int) -> Found:
    """The device of a component.

    Raises:
        DeviceError: there is none of that number.
    """
    if number < len(found):
        return found[number]
    there = ", ".join(f"{index} ({one.name})" for index, one in enumerate(found)) or "none"
    raise DeviceError(
        f"component {component!r} asks for {kind.title} device {number}; there is {there}; "
        f"see 'cotenant devices', {kind.remedy}"
    )


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # not even the package that it is a part of
        return False
