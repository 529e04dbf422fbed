"""The program that holds one CUDA device; `elastic/interpreter.py` says what it is told."""

import sys

from cotenant.core.clock import MonotonicClock
from cotenant.device.cpu.scheduling import Rung
from cotenant.device.cuda.driver import open_place
from cotenant.device.cuda.kind import CUDA
from cotenant.device.elastic.interpreter import Opened, serve
from cotenant.device.elastic.workers import NoWorkers


def opened(number: int, rung: Rung) -> Opened:
    """The device; no thread of this machine runs its kernels."""
    return Opened(open_place(number), NoWorkers(MonotonicClock()))


if __name__ == "__main__":
    serve(int(sys.argv[1]), CUDA, opened)
