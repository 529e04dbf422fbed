"""The time of a tile, from a real device and from times made by hand."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.bench.tiles import quantiles, tile_times
from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import parse_target
from cotenant.core.errors import DeviceError
from tests.compiler.kernels import scale_program

TIMES = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=40)


@given(TIMES)
def test_the_tail_is_a_time_that_was_seen_and_no_less_than_the_median(times_s):
    found = quantiles(times_s, [1.0] * len(times_s))
    assert {found.median_s, found.p99_s} <= set(times_s)
    assert found.median_s <= found.p99_s
    assert sum(one <= found.p99_s for one in times_s) >= 0.99 * len(times_s)


def test_a_kernel_that_hardly_runs_hardly_counts():
    assert quantiles([1.0, 9.0], [0.995, 0.005]).p99_s == 1.0
    assert quantiles([1.0, 9.0], [0.98, 0.02]).p99_s == 9.0


def test_tiles_of_a_bundle_are_timed_in_a_program_apart(place: Any, tmp_path: Path):
    write_bundle(scale_program(), "hand", parse_target("opencl"), tmp_path / "bundle")
    found = tile_times("opencl", tmp_path / "bundle")
    assert 0.0 < found.median_s <= found.p99_s < 1.0


def test_what_is_no_bundle_is_refused_with_the_reason(place: Any, tmp_path: Path):
    with pytest.raises(DeviceError, match="could not be timed"):
        tile_times("opencl", tmp_path)
