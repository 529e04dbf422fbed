"""How the warmth of a component goes, against what it is by definition and against sampling."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.prediction.waking import (
    Paces,
    Traffic,
    after,
    after_on_average,
    awake,
    awake_on_average,
    displaced,
    kept,
    kept_on_average,
    lost,
)
from cotenant.profiling.profile import LONG_PAUSE_S, PAUSE_S
from tests.prediction.made_up import made_up

COOLING_S = 0.035

RESTS_S = st.floats(0.0, 1.0)


def alone(warm, in_turns=None, rested=None):
    known = {"warm": warm, "in_turns": in_turns, "rested": rested}
    return made_up({"m": 0.01}).alone[0].model_copy(update=known)


def test_all_is_kept_without_a_rest_and_nothing_forever():
    for share in (lambda rest_s: kept(rest_s, COOLING_S), awake):
        assert share(0.0) == 1.0
        assert share(COOLING_S) > share(PAUSE_S) > share(math.inf) == 0.0


def test_each_pace_is_what_it_was_measured_as():
    paces = Paces(0.8, 1.02, 1.3)
    assert after(paces, 0.0, 0.0, COOLING_S) == pytest.approx(paces.after_itself)
    assert after(paces, math.inf, 0.0, COOLING_S) == pytest.approx(paces.after_another)
    assert after(paces, PAUSE_S, PAUSE_S, COOLING_S) == pytest.approx(1.0, abs=0.002)
    assert after(paces, LONG_PAUSE_S, LONG_PAUSE_S, COOLING_S) == pytest.approx(1.3, abs=0.002)
    assert lost(PAUSE_S) == 0.0
    assert lost(LONG_PAUSE_S) == pytest.approx(1.0)


def test_after_others_and_a_pause_less_is_found_than_after_the_same_pause_alone():
    paces = Paces(0.8, 1.0, 1.0)
    assert after(paces, 0.2, PAUSE_S, COOLING_S) == pytest.approx(1.06, abs=0.01)
    # Caches that forget at once have nothing more to lose.
    assert after(paces, 0.2, PAUSE_S, 0.005) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("cooling_s", [1e-3, 0.012, 0.05, 0.2, 9.0])
def test_sleep_never_costs_more_than_warmth_spares(cooling_s):
    assert 1.0 <= Paces(0.7, 1.0, 1.0).asleep(cooling_s) <= 1.3 + 1e-12


@given(RESTS_S, RESTS_S, st.floats(0.4, 1.0), st.floats(1.0, 2.0))
def test_a_longer_rest_makes_no_service_faster(one_s, other_s, itself, rested):
    first_s, second_s = sorted((one_s, other_s))
    paces = Paces(itself, 1.0, rested)
    first, second = (after(paces, rest_s, rest_s, COOLING_S) for rest_s in (first_s, second_s))
    assert first <= second + 1e-12


@given(RESTS_S, RESTS_S, RESTS_S, st.floats(0.4, 1.0), st.floats(0.0, 0.5))
def test_the_longer_a_model_was_absent_the_less_of_its_own_it_finds(
    one_s, other_s, rest_s, itself, more
):
    """However long ago others ran, who may only make it worse."""
    first_s, second_s = sorted((max(one_s, rest_s), max(other_s, rest_s)))
    paces = Paces(itself, min(1.25, itself + more), 1.0)
    if first_s > rest_s:  # else others have not run since
        first, second = (after(paces, own_s, rest_s, COOLING_S) for own_s in (first_s, second_s))
        assert first <= second + 1e-12


@given(RESTS_S, RESTS_S, st.floats(0.4, 1.0), st.floats(0.0, 0.5))
def test_the_longer_others_interrupt_the_more_is_displaced_and_never_more_than_all(
    one_s, other_s, itself, more
):
    paces = Paces(itself, itself + more, 1.0)
    first, second = (displaced(paces, held_s, COOLING_S) for held_s in sorted((one_s, other_s)))
    assert -1e-12 <= first <= second + 1e-12 <= more + 1e-9
    assert displaced(paces, 0.0, COOLING_S) == pytest.approx(0.0)


def test_noise_makes_no_model_faster_for_having_rested():
    assert alone(0.7, rested=0.9).after_a_long_rest == 1.0
    assert alone(0.7, rested=9.0).after_a_long_rest == 2.0


def test_a_profile_that_knows_no_long_rests_says_that_they_cost_nothing_more():
    assert alone(0.7).after_a_long_rest == 1.0
    paces = Paces.of(alone(0.7))
    assert after(paces, 3.0, 3.0, COOLING_S) == pytest.approx(paces.asleep(COOLING_S))


@given(st.floats(0.3, 1.3), st.floats(0.3, 3.0) | st.none())
def test_another_model_never_leaves_less_to_do_than_the_model_itself(warm, in_turns):
    one = alone(warm, in_turns)
    assert one.after_itself <= one.after_another <= 1.25
    if in_turns is None:  # profiles of earlier versions
        assert one.after_another == pytest.approx((1.0 + one.after_itself) / 2.0)


@given(
    st.floats(0.5, 40.0),
    st.floats(0.0, 40.0),
    st.floats(0.7, 1.2),
    st.floats(1.0, 2.0),
    st.booleans(),
)
def test_the_average_is_that_of_arrivals_at_a_component_that_serves_in_no_time(
    own_rps, other_rps, in_turns, rested, periodic
):
    rng = np.random.default_rng(1)
    count, tiny_s = 6000, 1e-9
    gaps_s = np.full(count, 1.0) if periodic else rng.exponential(1.0, count)
    own_s = np.cumsum(gaps_s / own_rps)
    others_s = np.sort(rng.uniform(0.0, own_s[-1], rng.poisson(other_rps * own_s[-1])))
    before = np.searchsorted(others_s, own_s[1:])
    latest_s = np.where(before > 0, others_s[before - 1] if others_s.size else -1.0, -1.0)
    # Rests that are all as long as each other are not what the law of long ones is made for.
    longer = 0.0 if periodic else rested - 1.0
    paces = Paces(0.7, in_turns, 1.0 + longer)
    found = [
        after(paces, mine_s, min(mine_s, since_s), COOLING_S)
        for mine_s, since_s in zip(np.diff(own_s), own_s[1:] - latest_s, strict=True)
    ]
    here = Traffic.of_all([Traffic(own_rps, tiny_s), Traffic(other_rps, tiny_s)])
    average = after_on_average(paces, Traffic(own_rps, tiny_s), here, COOLING_S, periodic=periodic)
    assert average == pytest.approx(np.mean(found), abs=0.06 + 0.05 * longer)


def test_what_never_rests_finds_what_the_one_before_it_has_left():
    paces, always = Paces(0.7, 1.1, 1.0), Traffic(100.0, 0.01)
    assert kept_on_average(always, COOLING_S) == pytest.approx(1.0)
    assert awake_on_average(always) == pytest.approx(1.0)
    assert after_on_average(paces, always, always, COOLING_S) == pytest.approx(0.7)
    beside = after_on_average(paces, Traffic(1e-9, 0.01), always, COOLING_S)
    assert beside == pytest.approx(1.1, abs=1e-6)
