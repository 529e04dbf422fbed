"""Prints every OpenCL device as JSON; run by `find.py` in an interpreter of its own."""

import json

from cotenant.device.opencl.place import devices


def main() -> None:
    """One object for each device, in the order of their numbers."""
    found = [
        {
            "name": f"{one.platform.name.strip()}: {one.name.strip()}",
            "units": one.max_compute_units,
            "memory_bytes": one.global_mem_size,
        }
        for one in devices()
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
