"""Memory in huge pages, in an interpreter of its own: nothing of this one is moved."""

import os
import platform
import re
import subprocess
import sys

import pytest

from cotenant.device.cpu.huge_pages import HUGE_BYTES, gather

_RELEASE = re.match(r"([0-9]+)\.([0-9]+)", platform.release())
_TOO_OLD = _RELEASE is None or (int(_RELEASE[1]), int(_RELEASE[2])) < (6, 1)

_GATHER = """
import re
import numpy as np
from cotenant.device.cpu.huge_pages import gather

def held():
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"AnonHugePages: +([0-9]+) kB", file.read())[1]) * 1024

rng = np.random.default_rng(1)
small = [rng.integers(0, 256, 100_000, dtype=np.uint8) for _ in range(400)]
sums, before = [int(one.sum()) for one in small], held()
found = gather()
assert [int(one.sum()) for one in small] == sums
print(before, found, held())
"""


@pytest.mark.skipif(_TOO_OLD, reason="this kernel gathers no memory: Linux 6.1 does")
def test_what_fills_huge_pages_is_held_in_them_and_stays_what_it_was():
    ran = subprocess.run(
        [sys.executable, "-c", _GATHER],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1000000"},  # one heap
    )
    before, found, after = (int(word) for word in ran.stdout.split())
    assert after >= before
    assert after >= 0.8 * 400 * 100_000
    assert found * HUGE_BYTES >= after


def test_where_the_system_knows_no_such_thing_nothing_happens(monkeypatch):
    monkeypatch.setattr("cotenant.device.cpu.huge_pages.ctypes.CDLL", lambda name: object())
    assert gather() == 0
