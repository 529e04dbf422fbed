"""The program that compiles a bundle's kernels for a CUDA device; see `elastic/warm.py`."""

from cotenant.device.cuda.driver import open_place
from cotenant.device.cuda.kind import CUDA
from cotenant.device.elastic.warm import main

if __name__ == "__main__":
    main(CUDA, open_place)
