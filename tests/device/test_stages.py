"""Stages of a manifest are read as written, and refused where they make no sense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.device.stages import check_stages, grouped


@given(st.lists(st.integers(1, 4), max_size=8))
def test_stages_of_any_width_come_back(widths: list[int]) -> None:
    stages = [stage for stage, width in enumerate(widths) for _ in range(width)]
    assert check_stages(stages) is None
    assert [len(group) for group in grouped(stages)] == widths
    assert [number for group in grouped(stages) for number in group] == list(range(len(stages)))


@pytest.mark.parametrize("stages", [[1], [-1], [0, 2], [0, 1, 0], [0, 1, 3, 4]])
def test_what_is_no_order_of_stages(stages: list[int]) -> None:
    assert "is in stage" in str(check_stages(stages))
