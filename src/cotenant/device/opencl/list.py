"""Prints every OpenCL device; run by `elastic/find.py` in an interpreter of its own."""

from cotenant.device.elastic.find import Found, listing
from cotenant.device.opencl.driver import devices, name_of


def main() -> None:
    """In the order of their numbers."""
    print(
        listing(
            Found(name_of(one), one.max_compute_units, one.global_mem_size, "opencl")
            for one in devices()
        )
    )


if __name__ == "__main__":
    main()
