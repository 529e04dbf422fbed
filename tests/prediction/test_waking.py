"""How the warmth of a component goes, against what it is by definition and against sampling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.prediction.waking import SHARED, Traffic, awake, awake_on_average
from cotenant.profiling.profile import PAUSE_S

COOLING_S = 0.012

RESTS_S = st.floats(0.0, 1.0)


def test_it_is_all_back_to_back_and_none_after_the_usual_pause():
    assert awake(0.0, True, COOLING_S) == pytest.approx(1.0)
    assert awake(PAUSE_S, True, COOLING_S) == pytest.approx(0.0)
    assert awake(10 * PAUSE_S, True, COOLING_S) < 0.0  # slower than it was profiled


@given(RESTS_S, RESTS_S)
def test_it_goes_with_the_rest_and_another_model_leaves_less(one_s, other_s):
    first_s, second_s = sorted((one_s, other_s))
    assert awake(second_s, True, COOLING_S) <= awake(first_s, True, COOLING_S)
    assert awake(first_s, False, COOLING_S) <= awake(first_s, True, COOLING_S)


@given(st.floats(0.1, 40.0), st.floats(0.0, 40.0))
def test_the_average_is_that_of_poisson_arrivals_at_an_exponential_rest(own_rps, other_rps):
    rng = np.random.default_rng(1)
    others = [Traffic(other_rps, 0.01)] if other_rps else []
    rate_rps = own_rps + other_rps
    load = 0.01 * rate_rps
    rests_s = rng.exponential(1.0 / rate_rps, 4000) * (rng.random(4000) >= load)
    found = [awake(rest_s, rng.random() < own_rps / rate_rps, COOLING_S) for rest_s in rests_s]
    average = awake_on_average(Traffic(own_rps, 0.01), others, COOLING_S)
    assert average == pytest.approx(np.mean(found), abs=0.04)


def test_a_closed_loop_alone_is_always_warm():
    assert awake_on_average(Traffic(100.0, 0.01), [], COOLING_S) == pytest.approx(1.0)
    beside = awake_on_average(Traffic(1e-9, 0.01), [Traffic(100.0, 0.01)], COOLING_S)
    assert beside == pytest.approx(awake(0.0, False, COOLING_S), abs=1e-6)
    assert beside < SHARED
