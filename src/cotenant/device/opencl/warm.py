"""The program that compiles a bundle's kernels for an OpenCL device; see `elastic/warm.py`."""

from cotenant.device.elastic.warm import main
from cotenant.device.opencl.driver import open_place
from cotenant.device.opencl.kind import OPENCL

if __name__ == "__main__":
    main(OPENCL, open_place)
