"""What holds for all tests: properties without a limit on time, compilers that keep nothing.

A limit on the time of one example would make the outcome of a test depend on how busy the machine
is. PoCL reads where to keep what it compiled once in a process, so all tests of one share that.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What an OpenCL driver compiles lies in a folder of the tests' own."""
    os.environ["POCL_CACHE_DIR"] = str(tmp_path_factory.mktemp("pocl"))
    os.environ["PYOPENCL_NO_CACHE"] = "1"
