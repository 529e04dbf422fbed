"""What a pair costs beyond sharing, against the shares that explain the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.prediction.interference import excess_of
from cotenant.profiling.profile import Beside
from tests.prediction.made_up import made_up, subject

BUSY = st.floats(0.05, 0.95)


def pair(own, other, slowdown, busy, neighbour="n"):
    return Beside(
        subject=subject("m", own),
        other=subject(neighbour, other),
        n=9,
        slowdown=slowdown,
        busy=busy,
    )


def excess(*pairs, **about):
    known = made_up({"m": 0.01, "n": 0.01}).model_copy(update={"beside": pairs, **about})
    return excess_of(pairs[0], known)


@given(BUSY)
def test_what_sharing_explains_costs_nothing_more(busy):
    assert excess(pair("critical", "best-effort", 1.0, busy)) == pytest.approx(0.0)
    assert excess(pair("best-effort", "best-effort", 1.0 + busy, busy)) == pytest.approx(0.0)
    stands_still = pair("best-effort", "critical", 1.0 / (1.0 - busy), busy)
    assert excess(stands_still) == pytest.approx(0.0, abs=1e-9)
    for own, other in (("critical", "critical"), ("best-effort", "critical")):
        shared = pair(own, other, 1.0 + busy, busy)
        assert excess(shared, policy="concurrent") == pytest.approx(0.0)


@given(BUSY, st.floats(1.0, 1.5))
def test_the_excess_is_for_each_unit_of_time_of_the_other(busy, factor):
    found = excess(pair("critical", "best-effort", factor, busy))
    assert 1.0 + found * busy == pytest.approx(factor)


def test_one_noisy_neighbour_does_not_say_what_interruptions_cost():
    calm = [pair("best-effort", "critical", 1.1 / 0.9, 0.1, f"n{place}") for place in range(4)]
    noisy = pair("best-effort", "critical", 5.0, 0.1)
    assert excess(noisy, *calm) == excess(calm[0], *calm)
    assert excess(noisy) == 1.0  # as long again as the interruption, and no more


@given(BUSY, st.floats(0.4, 1.0))
def test_company_is_compared_with_what_is_awake(busy, warm):
    """Alone with pauses it is slow, because cores sleep: company does not make it faster."""
    slow = [
        one.model_copy(update={"warm": warm, "subject": one.subject.model_copy(update=kind)})
        for one in made_up({"m": 0.01, "n": 0.01}).alone
        for kind in ({"criticality": "critical"}, {"criticality": "best-effort"})
    ]
    shared = pair("best-effort", "best-effort", warm * (1.0 + busy), busy)
    assert excess(shared, alone=slow) == pytest.approx(0.0)


@given(BUSY, st.floats(0.4, 1.0))
def test_critical_work_is_compared_with_what_it_takes_in_the_mix(busy, warm):
    found = excess_of(pair("critical", "best-effort", warm, busy), made_up({"m": 0.01}), warm)
    assert found == pytest.approx(0.0)
