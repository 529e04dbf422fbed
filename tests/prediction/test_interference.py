"""What a pair costs beyond sharing, against the shares that explain the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.errors import WorkloadError
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


def excess(*pairs, cores=2, **about):
    known = made_up({"m": 0.01, "n": 0.01}).model_copy(update={"beside": pairs, **about})
    return excess_of(pairs[0], known, cores)


@given(BUSY)
def test_what_sharing_explains_costs_nothing_more(busy):
    assert excess(pair("critical", "best-effort", 1.0, busy)) == pytest.approx(0.0)
    assert excess(pair("best-effort", "best-effort", 1.0 + busy, busy)) == pytest.approx(0.0)
    for own, other in (("critical", "critical"), ("best-effort", "critical")):
        shared = pair(own, other, 1.0 + busy, busy)
        assert excess(shared, policy="concurrent") == pytest.approx(0.0)


@given(BUSY, st.floats(1.0, 1.5))
def test_the_excess_is_for_each_unit_of_time_of_the_other(busy, factor):
    found = excess(pair("critical", "best-effort", factor, busy))
    assert 1.0 + found * busy == pytest.approx(factor)


@given(st.floats(0.0, 0.002), BUSY)
def test_an_interruption_costs_its_own_time_however_long_it_lasts(lost_s, busy):
    known = [
        one.model_copy(update={"interruption_s": lost_s, "subject": subject(name, kind)})
        for one, name, kind in zip(
            made_up({"m": 0.01, "n": 0.02}).alone, "mn", ("best-effort", "critical"), strict=True
        )
    ]
    interrupted = pair("best-effort", "critical", 1.0 / (1.0 - busy), busy)
    # 0.02 s of the other one is one interruption.
    assert 0.02 * excess(interrupted, alone=known) == pytest.approx(lost_s)


@given(BUSY, st.floats(1.01, 3.0), st.sampled_from(["cotenant", "concurrent"]))
def test_on_one_core_nothing_runs_beside_anything(busy, slowdown, policy):
    for own, other in (("critical", "best-effort"), ("best-effort", "best-effort")):
        measured = pair(own, other, slowdown * (1.0 + busy), busy)
        assert excess(measured, policy=policy, cores=1) == 0.0
        assert excess(measured, policy=policy, cores=2) > 0.0


def test_interruptions_cost_the_same_on_one_core():
    known = [
        one.model_copy(update={"interruption_s": 0.001, "subject": subject(name, kind)})
        for one, name, kind in zip(
            made_up({"m": 0.01, "n": 0.02}).alone, "mn", ("best-effort", "critical"), strict=True
        )
    ]
    interrupted = pair("best-effort", "critical", 2.0, 0.5)
    assert excess(interrupted, alone=known, cores=1) == pytest.approx(0.05)


@pytest.mark.parametrize(("front_busy_s", "left_s"), [(None, 0.0010), (0.0009, 0.0006)])
def test_what_the_machine_does_for_critical_work_counts_once(front_busy_s, left_s):
    """Where the front's time is known it is no part of an interruption."""
    known = [
        one.model_copy(
            update={
                "interruption_s": 0.001,
                "overhead_s": overhead_s,
                "front_busy_s": front_busy_s,
                "subject": subject(name, kind),
            }
        )
        for one, name, kind, overhead_s in zip(
            made_up({"m": 0.01, "n": 0.02, "o": 0.02}).alone,
            "mno",
            ("best-effort", "critical", "critical"),
            (0.0001, 0.0004, 0.0005),
            strict=True,
        )
    ]
    interrupted = pair("best-effort", "critical", 2.0, 0.5)
    assert 0.02 * excess(interrupted, alone=known) == pytest.approx(left_s)


def test_a_pair_whose_other_was_not_measured_alone_is_told():
    with pytest.raises(WorkloadError, match="measure the profile again"):
        excess(pair("best-effort", "critical", 1.2, 0.1, "unknown"))


@given(BUSY, st.floats(0.4, 1.0), st.floats(1.0, 1.2), st.sampled_from(["best-effort", "critical"]))
def test_company_is_compared_with_a_component_that_has_run_another_model(busy, warm, woken, own):
    """Alone with pauses it is slow, because cores sleep: company does not make it faster."""
    cold = [
        one.model_copy(
            update={"warm": warm, "in_turns": woken, "subject": one.subject.model_copy(update=kind)}
        )
        for one in made_up({"m": 0.01, "n": 0.01}).alone
        for kind in ({"criticality": "critical"}, {"criticality": "best-effort"})
    ]
    shared = 1.0 + busy if own == "best-effort" else 1.0
    measured = pair(own, "best-effort", woken * shared, busy)
    assert excess(measured, alone=cold) == pytest.approx(0.0)
    # Where the time back to back of the same measurement is known, it is what counts.
    noted = measured.model_copy(update={"slowdown": 9.0, "over_warm": woken / warm * shared})
    assert excess(noted, alone=cold) == pytest.approx(0.0)
