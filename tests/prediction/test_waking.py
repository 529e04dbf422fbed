"""How the warmth of a component goes, against what it is by definition and against sampling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.prediction.waking import (
    Traffic,
    after,
    after_on_average,
    lost,
    spared,
    spared_on_average,
)
from cotenant.profiling.profile import LONG_PAUSE_S, PAUSE_S
from tests.prediction.made_up import made_up

COOLING_S = 0.012

RESTS_S = st.floats(0.0, 1.0)


def alone(warm, in_turns=None, rested=None):
    known = {"warm": warm, "in_turns": in_turns, "rested": rested}
    return made_up({"m": 0.01}).alone[0].model_copy(update=known)


def test_all_is_spared_without_a_rest_and_nothing_after_the_usual_pause():
    assert spared(0.0, COOLING_S) == pytest.approx(1.0)
    assert spared(PAUSE_S, COOLING_S) == pytest.approx(0.0)
    assert spared(10 * PAUSE_S, COOLING_S) == pytest.approx(0.0)


def test_a_long_rest_costs_what_it_was_measured_to_cost():
    assert lost(PAUSE_S) == 0.0
    assert lost(LONG_PAUSE_S) == pytest.approx(1.0)
    assert after(0.8, 1.3, LONG_PAUSE_S, COOLING_S) == pytest.approx(1.3)


@given(RESTS_S, RESTS_S, st.floats(0.4, 1.0), st.floats(1.0, 2.0))
def test_a_longer_rest_makes_no_service_faster(one_s, other_s, at_once, rested):
    first_s, second_s = sorted((one_s, other_s))
    first, second = (after(at_once, rested, rest_s, COOLING_S) for rest_s in (first_s, second_s))
    assert first <= second + 1e-12


def test_noise_makes_no_model_faster_for_having_rested():
    assert alone(0.7, rested=0.9).after_a_long_rest == 1.0
    assert alone(0.7, rested=9.0).after_a_long_rest == 2.0


def test_a_profile_that_knows_no_long_rests_says_that_they_cost_nothing_more():
    assert alone(0.7).after_a_long_rest == 1.0
    assert after(0.7, 1.0, 3.0, COOLING_S) == 1.0


@given(st.floats(0.3, 1.3), st.floats(0.3, 3.0) | st.none())
def test_another_model_never_leaves_less_to_do_than_the_model_itself(warm, in_turns):
    one = alone(warm, in_turns)
    assert one.after_itself <= one.after_another <= 1.25
    if in_turns is None:  # profiles of earlier versions
        assert one.after_another == pytest.approx((1.0 + one.after_itself) / 2.0)


@given(st.floats(0.1, 40.0), st.floats(0.0, 40.0), st.floats(0.7, 1.2), st.floats(1.0, 2.0))
def test_the_average_is_that_of_poisson_arrivals_at_an_exponential_rest(
    own_rps, other_rps, in_turns, rested
):
    rng = np.random.default_rng(1)
    one, others = alone(0.7, in_turns, rested), [Traffic(other_rps, 0.01)] if other_rps else []
    rate_rps = own_rps + other_rps
    load = 0.01 * rate_rps
    rests_s = rng.exponential(1.0 / rate_rps, 4000) * (rng.random(4000) >= load)
    found = [
        after(
            one.after_itself if rng.random() < own_rps / rate_rps else one.after_another,
            one.after_a_long_rest,
            rest_s,
            COOLING_S,
        )
        for rest_s in rests_s
    ]
    here = Traffic.of_all([Traffic(own_rps, 0.01), *others])
    average = after_on_average(one, own_rps, here, COOLING_S)
    assert average == pytest.approx(np.mean(found), abs=0.02 + 0.05 * (rested - 1.0))


def test_what_never_rests_finds_what_the_one_before_it_has_left():
    one, always = alone(0.7, 1.1), Traffic(100.0, 0.01)
    assert spared_on_average(always, COOLING_S) == pytest.approx(1.0)
    assert after_on_average(one, 100.0, always, COOLING_S) == pytest.approx(0.7)
    beside = after_on_average(one, 1e-9, always, COOLING_S)
    assert beside == pytest.approx(1.1, abs=1e-6)
