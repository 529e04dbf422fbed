"""What a machine that cools as the model says would show gives back how fast it cools."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.prediction.waking import Paces, after, kept
from cotenant.profiling.cooling import BRIEF_S, Paused, cooling_s, with_nothing_left

WARM = st.lists(st.tuples(st.floats(1e-3, 0.1), st.floats(0.4, 0.95)), min_size=1, max_size=6)


def with_sleep_that_costs_nothing(warm, truth_s):
    """Which pauses of three lengths cannot tell from caches that forget."""
    return Paces(warm, Paces(warm, 1.0, 1.0).asleep(truth_s), 1.0)


@given(WARM, st.floats(0.002, 0.07))
def test_a_machine_that_cools_as_the_model_says_is_found_out(models, truth_s):
    found = cooling_s(
        [
            Paused(
                usual_s,
                usual_s
                * after(with_sleep_that_costs_nothing(warm, truth_s), BRIEF_S, BRIEF_S, truth_s),
                usual_s * warm,
            )
            for usual_s, warm in models
        ]
    )
    assert found == pytest.approx(truth_s, rel=0.01)


@pytest.mark.parametrize("models", [[], [Paused(0.01, 0.01, 0.0099)], [Paused(0.01, 0.02, 0.03)]])
def test_where_warmth_spares_nothing_nothing_is_said(models):
    assert cooling_s(models) is None


@given(st.floats(-1.0, 3.0))
def test_noise_gives_a_time_that_can_be_used(part):
    found = cooling_s([Paused(1.0, 1.0 - 0.2 * part, 0.8)])
    assert found is not None
    assert 0.001 <= found <= 0.2
    assert math.isfinite(kept(0.0, found))


@given(st.floats(0.5, 1.0), st.floats(1.0, 1.3), st.floats(0.02, 1.0), st.floats(0.002, 0.028))
def test_what_a_model_in_turns_finds_of_its_own_is_taken_out(warm, cold, own_rest_s, truth_s):
    in_turns = after(Paces(warm, cold, 1.0), own_rest_s, 0.0, truth_s)
    assert with_nothing_left(in_turns, warm, own_rest_s, truth_s) == pytest.approx(cold)


@given(st.floats(0.5, 1.0), st.floats(0.5, 1.3), st.floats(0.0, 1.0), st.floats(0.001, 0.2))
def test_noise_counts_no_more_than_twice(warm, in_turns, own_rest_s, cools_s):
    found = with_nothing_left(in_turns, warm, own_rest_s, cools_s)
    assert abs(found - in_turns) <= abs(in_turns - warm) + 1e-9
