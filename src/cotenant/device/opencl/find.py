"""Nothing goes in; every OpenCL device of this machine comes out, asked in an interpreter apart.

A driver is foreign code that starts threads and may end its caller, so the front never loads it.
"""

import importlib.util
import json
import subprocess
import sys
from typing import NamedTuple

from cotenant.core.errors import DeviceError

_INSTALL = "run: pip install 'cotenant[opencl]'"


class Found(NamedTuple):
    """One OpenCL device; its place in the list is its number."""

    name: str
    units: int
    memory_bytes: int


def find_devices() -> tuple[Found, ...]:
    """All devices, graphics processors first.

    Raises:
        DeviceError: pyopencl is missing, or a driver has brought down who asked it.
    """
    if importlib.util.find_spec("pyopencl") is None:
        raise DeviceError(f"OpenCL needs the Python package pyopencl; {_INSTALL}")
    asked = subprocess.run(
        [sys.executable, "-m", "cotenant.device.opencl.list"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        raise DeviceError(
            f"listing the OpenCL devices ended with status {asked.returncode}; a driver may be "
            f"damaged: {asked.stderr.strip()[-500:]}"
        )
    return tuple(Found(**one) for one in json.loads(asked.stdout))


def device_of(found: tuple[Found, ...], component: str, number: int) -> Found:
    """The device of a component.

    Raises:
        DeviceError: there is none of that number.
    """
    if number < len(found):
        return found[number]
    there = ", ".join(f"{index} ({one.name})" for index, one in enumerate(found)) or "none"
    raise DeviceError(
        f"component {component!r} asks for OpenCL device {number}; there is {there}; "
        f"see 'cotenant devices', install its driver, or for PoCL {_INSTALL}"
    )
