"""Prints every CUDA device; run by `elastic/find.py` in an interpreter of its own."""

from cotenant.core.errors import DeviceError
from cotenant.device.cuda.driver import devices
from cotenant.device.elastic.find import listing, refused


def main() -> None:
    """In the order of their numbers."""
    try:
        print(listing(devices()))
    except DeviceError as error:
        print(refused(str(error)))


if __name__ == "__main__":
    main()
