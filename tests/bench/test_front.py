"""The time at the front, from answers and records made by hand."""

import pytest

from cotenant.bench.front import _alone
from cotenant.core.errors import ExecutionError


def test_front_and_service_are_told_apart_request_by_request():
    services_s = [0.5] * 4 + [0.010, 0.012] * 20 + [0.5] * 4 + [0.010, 0.012] * 20
    latencies_s = [one + 0.002 for one in services_s]
    found = _alone("a", [latencies_s[:44], latencies_s[44:]], services_s)
    assert found.front_s == pytest.approx(0.002)
    assert found.service.mean_s == pytest.approx(0.011)  # the warm-up of each pass is left out
    assert found.service.n == 80


def test_a_stall_of_somebody_elses_moves_neither():
    services_s = [0.5] * 4 + [0.010] * 60
    services_s[20] = 1.0
    latencies_s = [one + 0.002 for one in services_s]
    latencies_s[40] += 0.3
    found = _alone("a", [latencies_s], services_s)
    assert found.front_s == pytest.approx(0.002)
    assert found.service.mean_s == pytest.approx(0.010)


def test_answers_and_records_that_differ_are_an_error():
    with pytest.raises(ExecutionError, match="answered 5 times, and the server recorded 4"):
        _alone("a", [[0.1] * 5], [0.1] * 4)
    with pytest.raises(ExecutionError, match="answered 0 times"):
        _alone("a", [[]], [])
