"""How wrong a right forecast looks, on models whose long run is known in closed form."""

import pytest

from cotenant.bench.luck import luck_of
from cotenant.bench.predictors import forecasts_of
from cotenant.core.workload import Workload
from cotenant.prediction.predict import predict
from tests.prediction.made_up import made_up, subject_of, task


def luck(tasks, seconds_s, **about):
    workload, profile = Workload(name="w", tasks=tasks), made_up({"m": 0.01})
    forecasts = forecasts_of(workload, predict(workload, profile, subject_of))
    return luck_of(workload, profile, subject_of, forecasts, seconds_s=seconds_s, **about)


def test_what_is_always_the_same_leaves_nothing_to_luck():
    [one] = luck([task("a", "m", 20.0, "periodic")], 5.0, warm_up_s=1.0)
    assert (one.mean, one.p95, one.p99) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def test_longer_windows_leave_less_of_it_and_a_busy_server_more():
    [short], [long], [busy] = (
        luck([task("a", "m", rate_rps)], seconds_s, warm_up_s=1.0)
        for rate_rps, seconds_s in ((50.0, 2.0), (50.0, 32.0), (90.0, 32.0))
    )
    # With sixteen times as many requests, a quarter of it.
    assert long.mean == pytest.approx(short.mean / 4.0, rel=0.6)
    assert long.p99 < short.p99
    assert busy.mean > 2.0 * long.mean


def test_where_too_much_work_arrives_there_is_nothing_to_compare():
    assert luck([task("a", "m", 120.0)], 2.0, warm_up_s=0.5) == ()
