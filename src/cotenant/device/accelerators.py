"""The name of a kind goes in; what runs its bundles, opened where it is wanted, comes out."""

import importlib
from collections.abc import Mapping

from cotenant.core.errors import Unsupported
from cotenant.device.cuda.kind import CUDA
from cotenant.device.elastic.kind import Kind
from cotenant.device.elastic.place import Place
from cotenant.device.opencl.kind import OPENCL

KINDS: Mapping[str, Kind] = {one.name: one for one in (OPENCL, CUDA)}
"""Every kind of component that runs bundles."""


def open_place(kind: Kind, number: int = 0) -> Place:
    """Load a driver into this interpreter, which the front never does, and open a device.

    Raises:
        Unsupported: the package that it needs is not installed.
        DeviceError: there is no driver, or no device of this number.
    """
    try:
        room = importlib.import_module(f"{kind.room}.driver")
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"running kernels needs {error.name!r}, which is not installed; {kind.install}"
        ) from error
    place: Place = room.open_place(number)
    return place
