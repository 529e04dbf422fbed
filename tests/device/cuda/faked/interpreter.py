"""The program that holds the fake's device."""

import sys

from cotenant.core.clock import MonotonicClock
from cotenant.device.cpu.scheduling import Rung
from cotenant.device.cuda.driver import open_place
from cotenant.device.elastic.interpreter import Opened, serve
from cotenant.device.elastic.workers import NoWorkers
from tests.device.cuda.fake import FakeCuda
from tests.device.cuda.faked import FAKED


def opened(number: int, rung: Rung) -> Opened:
    return Opened(open_place(number, FakeCuda()), NoWorkers(MonotonicClock()))


if __name__ == "__main__":
    serve(int(sys.argv[1]), FAKED, opened)
