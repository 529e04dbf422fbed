"""A choice of device goes in; an OpenCL context with one queue, and built kernels, come out."""

import warnings
from typing import NamedTuple

import pyopencl as cl

from cotenant.core.errors import DeviceError
from cotenant.device.tuning import Here

_ELASTIC = "#ifndef cotenant_axis"
"""With this line begins what the elastic transformation adds to a kernel."""


class Place(NamedTuple):
    """One OpenCL device, as an inference uses it."""

    device: cl.Device
    context: cl.Context
    queue: cl.CommandQueue
    sides: tuple[cl.CommandQueue, ...] = ()
    """Further queues, for steps of one stage; none where that brings nothing."""

    @property
    def name(self) -> str:
        return f"{self.device.platform.name.strip()}: {self.device.name.strip()}"

    @property
    def here(self) -> Here:
        """What a tuning table made on this device says of it."""
        version = f"{self.device.driver_version.strip()}; {self.device.version.strip()}"
        return Here(self.name, version)

    @property
    def width(self) -> int:
        """Compute units: as many physical blocks fill the device at least once."""
        return int(self.device.max_compute_units)


def open_place(number: int = 0) -> Place:
    """Open a device by its number; graphics processors come before processors.

    Raises:
        DeviceError: there is no OpenCL device of this number.
    """
    found = devices()
    if not 0 <= number < len(found):
        raise DeviceError(
            f"there is no OpenCL device {number}; {len(found)} found; install a driver, or "
            "PoCL with: pip install 'cotenant[opencl]'"
        )
    device = found[number]
    context = cl.Context([device])
    return Place(device, context, cl.CommandQueue(context))


def build(place: Place, source: str, name: str) -> cl.Program:
    """Compile a source text for the device.

    Raises:
        DeviceError: the device's compiler refuses it; its log is in the message.
    """
    try:
        # A driver that says anything at all while it compiles is no concern of the caller's.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cl.CompilerWarning)
            program = cl.Program(place.context, source)
            program.build()
            return program
    except cl.RuntimeError as error:
        raise DeviceError(
            f"kernel {name!r} does not build on {place.name!r}; its compiler says: "
            f"{str(error).strip()[:2000]}"
        ) from error


def plain_part(source: str) -> str:
    """A kernel's source without its elastic forms, which the compiler wrote behind it."""
    return source.partition(_ELASTIC)[0]


def devices() -> list[cl.Device]:
    """Every OpenCL device; the place in this list is its number."""
    try:
        platforms = cl.get_platforms()
    except cl.LogicError:
        return []  # the loader has found no driver
    found = [device for platform in platforms for device in platform.get_devices()]
    return sorted(found, key=lambda device: not device.type & cl.device_type.GPU)
