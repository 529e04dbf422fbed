"""Ratios by round: against published tables, against the definition, and with wild rounds."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.bench.paired import _averages_left_out, ratio

_FIGURES = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=12)


def by_round(*figures: float) -> dict[int, float]:
    return dict(enumerate(figures))


@pytest.mark.parametrize(
    ("rounds", "critical"),
    # Two-sided 5 % points of Wilcoxon's signed-rank statistic, as tables give them.
    [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (12, 13), (15, 25), (20, 52)],
)
def test_as_many_averages_are_left_out_as_the_tables_say(rounds: int, critical: int) -> None:
    assert _averages_left_out(rounds) == critical


@pytest.mark.parametrize("rounds", [1, 2, 3, 5])
def test_too_few_rounds_leave_nothing_out(rounds: int) -> None:
    assert _averages_left_out(rounds) == 0


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng, rounds, repeats, covered = np.random.default_rng(3), 8, 1500, 0
    for _ in range(repeats):
        slow = rng.lognormal(0.0, 0.5, rounds)  # what a round does to both
        ours = 1.2 * slow * rng.lognormal(0.0, 0.1, rounds)
        theirs = slow * rng.lognormal(0.0, 0.1, rounds)
        interval = ratio(by_round(*ours), by_round(*theirs))
        assert interval is not None
        covered += interval.low <= 1.2 <= interval.high
    # 1 - 2 x 5/256 = 0.961 exactly; four standard deviations of the count are 0.02.
    assert 0.94 <= covered / repeats <= 0.981


@given(_FIGURES, st.data())
def test_what_a_round_does_to_both_cancels(figures: list[float], data: st.DataObject) -> None:
    size = len(figures)
    theirs = data.draw(st.lists(st.floats(0.01, 100.0), min_size=size, max_size=size))
    slower = data.draw(st.lists(st.floats(0.1, 10.0), min_size=size, max_size=size))
    calm = ratio(by_round(*figures), by_round(*theirs))
    moved = ratio(
        by_round(*(one * by for one, by in zip(figures, slower, strict=True))),
        by_round(*(one * by for one, by in zip(theirs, slower, strict=True))),
    )
    assert calm is not None
    assert moved == pytest.approx(calm)


@given(_FIGURES, st.data())
def test_the_other_way_round_is_the_inverse(figures: list[float], data: st.DataObject) -> None:
    size = len(figures)
    theirs = data.draw(st.lists(st.floats(0.01, 100.0), min_size=size, max_size=size))
    ours = ratio(by_round(*figures), by_round(*theirs))
    back = ratio(by_round(*theirs), by_round(*figures))
    assert ours is not None
    assert back is not None
    assert tuple(back) == pytest.approx((1 / ours.value, 1 / ours.high, 1 / ours.low))
    each = sorted(one / other for one, other in zip(figures, theirs, strict=True))
    ends = (each[0], ours.low, ours.value, ours.high, each[-1])
    assert all(less <= more * (1 + 1e-9) for less, more in pairwise(ends))


@pytest.mark.parametrize("wild", [1e-3, 0.0, 1e3])
def test_one_wild_round_of_eight_moves_little(wild: float) -> None:
    usual = (1.10, 1.08, 1.12, 1.09, 1.11, 1.07, 1.13)
    found = ratio(by_round(*usual, wild), by_round(*[1.0] * 8))
    assert found is not None
    assert found.value == pytest.approx(1.1, abs=0.02)
    # Three averages are left out at either end, of the eight that the wild round is part of.
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
    assert (found.low < 1.0) == (wild < 1.0)


def test_only_rounds_that_both_went_through_count() -> None:
    assert ratio({0: 4.0, 1: 100.0}, {0: 2.0, 2: 5.0}) == pytest.approx((2.0, 2.0, 2.0))
    assert ratio({0: 4.0}, {1: 2.0}) is None
    assert ratio({}, {}) is None


def test_over_nothing_there_is_no_ratio_and_nothing_is_hardly_anything() -> None:
    assert ratio(by_round(1.0, 2.0), by_round(0.0, 0.0)) is None
    found = ratio(by_round(0.0, 0.0), by_round(1.0, 2.0))
    assert found is not None
    assert found.value < 1e-9
