"""The program that compiles for the fake's device."""

from cotenant.device.cuda.driver import open_place
from cotenant.device.elastic.warm import main
from tests.device.cuda.fake import FakeCuda
from tests.device.cuda.faked import FAKED

if __name__ == "__main__":
    main(FAKED, lambda number: open_place(number, FakeCuda()))
