"""The time at the front, from answers and records made by hand."""

import pytest

from cotenant.bench.asking import Rhythm
from cotenant.bench.front import Pace, _alone
from cotenant.core.errors import ExecutionError

WARM_UP_S = [0.5] * 4


CALM, QUICK, TURNS = Rhythm


def pace(rhythm, services_s, front_s=0.002):
    return Pace(rhythm, [one + front_s for one in services_s], 0.0005 * len(services_s))


def test_front_and_service_are_told_apart_request_by_request():
    calm_s = WARM_UP_S + [0.010, 0.012] * 20
    warm_s = WARM_UP_S + [0.008] * 20
    turns_s = WARM_UP_S + [0.009] * 20
    paces = [
        pace(CALM, calm_s),
        pace(QUICK, warm_s, 0.001),
        pace(TURNS, turns_s),
        pace(CALM, calm_s),
    ]
    found = _alone("a", paces, calm_s + warm_s + turns_s + calm_s)
    assert found.front_s == pytest.approx(0.002)
    assert found.warm_front_s == pytest.approx(0.001)
    assert found.front_busy_s == pytest.approx(0.0005)
    assert found.service.mean_s == pytest.approx(0.011)  # the warm-up of each pass is left out
    assert found.service.n == 20  # those in turns say how services vary
    assert found.warm == pytest.approx(8 / 11)
    assert found.in_turns == pytest.approx(9 / 11)


def test_a_stall_of_somebody_elses_moves_neither():
    services_s = WARM_UP_S + [0.010] * 60
    services_s[20] = 1.0
    calm = pace(CALM, services_s)
    calm.latencies_s[40] += 0.3
    found = _alone("a", [calm, pace(QUICK, services_s), pace(TURNS, services_s)], services_s * 3)
    assert found.front_s == pytest.approx(0.002)
    assert found.service.mean_s == pytest.approx(0.010)
    assert found.warm == pytest.approx(1.0)


def test_services_vary_as_they_do_in_turns():
    calm_s, turns_s = WARM_UP_S + [0.010] * 20, WARM_UP_S + [0.016, 0.024] * 10
    paces = [pace(CALM, calm_s), pace(QUICK, calm_s), pace(TURNS, turns_s)]
    service = _alone("a", paces, calm_s * 2 + turns_s).service
    assert service.mean_s == pytest.approx(0.010)
    assert service.quantiles_s[0] == pytest.approx(0.008)
    assert service.quantiles_s[-1] == pytest.approx(0.012)


def test_answers_and_records_that_differ_are_an_error():
    five, other, turns = (Pace(rhythm, [0.1] * 5, 0.0) for rhythm in Rhythm)
    with pytest.raises(ExecutionError, match="answered 15 times, and the server recorded 4"):
        _alone("a", [five, other, turns], [0.1] * 4)
    with pytest.raises(ExecutionError, match="answered 10 times"):
        _alone("a", [five, other, turns._replace(latencies_s=[])], [0.1] * 10)
