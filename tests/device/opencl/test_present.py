"""Says why the other tests of this folder are missing, where they are."""

import importlib.util
from typing import Any

import pytest


@pytest.mark.skipif(
    importlib.util.find_spec("pyopencl") is None,
    reason="needs pyopencl: pip install 'cotenant[opencl]'",
)
def test_a_device_is_there(place: Any) -> None:
    assert place.width >= 1
    assert place.device.memory_bytes > 0
