"""The time at the front, from answers and records made by hand."""

import pytest

from cotenant.bench.front import Pace, _alone
from cotenant.core.errors import ExecutionError

WARM_UP_S = [0.5] * 4


def pace(calm, services_s, front_s=0.002):
    return Pace(calm, [one + front_s for one in services_s], 0.0005 * len(services_s))


def test_front_and_service_are_told_apart_request_by_request():
    calm_s = WARM_UP_S + [0.010, 0.012] * 20
    warm_s = WARM_UP_S + [0.008] * 20
    paces = [pace(True, calm_s), pace(False, warm_s, 0.001), pace(True, calm_s)]
    found = _alone("a", paces, calm_s + warm_s + calm_s)
    assert found.front_s == pytest.approx(0.002)
    assert found.warm_front_s == pytest.approx(0.001)
    assert found.front_busy_s == pytest.approx(0.0005)
    assert found.service.mean_s == pytest.approx(0.011)  # the warm-up of each pass is left out
    assert found.service.n == 80
    assert found.warm == pytest.approx(8 / 11)


def test_a_stall_of_somebody_elses_moves_neither():
    services_s = WARM_UP_S + [0.010] * 60
    services_s[20] = 1.0
    calm = pace(True, services_s)
    calm.latencies_s[40] += 0.3
    found = _alone("a", [calm, pace(False, services_s)], services_s * 2)
    assert found.front_s == pytest.approx(0.002)
    assert found.service.mean_s == pytest.approx(0.010)
    assert found.warm == pytest.approx(1.0)


def test_answers_and_records_that_differ_are_an_error():
    five, none = Pace(True, [0.1] * 5, 0.0), Pace(False, [], 0.0)
    with pytest.raises(ExecutionError, match="answered 10 times, and the server recorded 4"):
        _alone("a", [five, five._replace(calm=False)], [0.1] * 4)
    with pytest.raises(ExecutionError, match="answered 5 times"):
        _alone("a", [five, none], [0.1] * 5)
