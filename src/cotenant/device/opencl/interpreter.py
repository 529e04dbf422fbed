"""The program that holds one OpenCL device; `elastic/interpreter.py` says what it is told."""

import sys

from cotenant.core.clock import MonotonicClock
from cotenant.device.cpu.scheduling import Rung
from cotenant.device.elastic.interpreter import Opened, serve
from cotenant.device.opencl.driver import open_place
from cotenant.device.opencl.kind import OPENCL
from cotenant.device.opencl.workers import Workers, with_threads


def opened(number: int, rung: Rung) -> Opened:
    """The device, and its threads where it is the processor itself."""
    place, threads = with_threads(lambda: open_place(number))
    mine = threads if place.device.processor else frozenset[int]()
    return Opened(place, Workers(mine, rung, MonotonicClock()))


if __name__ == "__main__":
    serve(int(sys.argv[1]), OPENCL, opened)
