"""A trial as data: service times go in, a verdict comes out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.runtime.trial import TRIAL, Trial, Verdict

FREE, HELD = 1, 3
ALONE_S, BOUND = 0.010, 1.1


def put_to(service_s) -> tuple[Verdict, int]:
    """The verdict on service times by (place, held), and after how many of them."""
    trial = Trial("det", FREE, HELD, alone_s=ALONE_S, bound=BOUND, now_s=0.0)
    for place in range(1000):
        verdict = trial.observe(service_s(place, trial.step == HELD), float(place))
        assert trial.heard_s == place
        if verdict is not None:
            return verdict, place + 1
    raise AssertionError("it never ends")


def test_what_goes_while_best_effort_is_held_back_is_relief():
    verdict, _ = put_to(lambda place, held: 0.011 if held else 0.015)
    assert verdict is Verdict.RELIEF


def test_without_any_difference_it_ends_early():
    verdict, after = put_to(lambda place, held: 0.015)
    assert verdict is Verdict.NO_RELIEF
    assert after == TRIAL // 4


def test_a_little_relief_is_not_enough():
    verdict, after = put_to(lambda place, held: 0.0135 if held else 0.015)
    assert verdict is Verdict.NO_RELIEF
    assert after == TRIAL


def test_what_has_passed_meanwhile_needs_no_remedy():
    verdict, _ = put_to(lambda place, held: 0.0102 if held else 0.0108)
    assert verdict is Verdict.OVER


@given(
    start=st.floats(1.15, 3.0),
    slope=st.floats(-0.01, 0.05),
    jump=st.integers(0, TRIAL),
    factor=st.floats(0.8, 1.3),
)
def test_a_machine_that_drifts_or_jumps_brings_no_relief(start, slope, jump, factor):
    def service_s(place, held):
        return ALONE_S * max(1.0, start + slope * place) * (factor if place >= jump else 1.0)

    assert put_to(service_s)[0] is not Verdict.RELIEF


@pytest.mark.parametrize("seed", range(5))
def test_noise_hides_neither_a_cause_nor_its_absence(seed):
    rng = np.random.default_rng(seed)
    noise = rng.lognormal(0.0, 0.1, TRIAL)
    cause = put_to(lambda place, held: noise[place] * (0.0105 if held else 0.016))
    assert cause[0] is Verdict.RELIEF
    assert put_to(lambda place, held: 0.016 * noise[place])[0] is Verdict.NO_RELIEF


def test_a_second_trial_compares_two_other_steps():
    first = Trial("det", FREE, HELD, alone_s=ALONE_S, bound=BOUND, now_s=0.0)
    again = first.again(0, FREE, 5.0)
    assert (again.task, again.step, again.held_step, again.heard_s) == ("det", 0, FREE, 5.0)
