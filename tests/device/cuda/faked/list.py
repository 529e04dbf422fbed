"""Prints the fake's device."""

from cotenant.device.cuda.driver import devices
from cotenant.device.elastic.find import listing
from tests.device.cuda.fake import FakeCuda

if __name__ == "__main__":
    print(listing(devices(FakeCuda())))
