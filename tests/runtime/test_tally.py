"""Figures of many records: the mean exactly, quantiles as closely as the buckets promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.record import Outcome, Record
from cotenant.core.task import Slo, Task
from cotenant.runtime.tally import Tally

TASK = Task(name="a", model="m", slo=Slo(latency_s=0.5, quantile=0.9))


def record(sojourn_s: float, outcome: Outcome = Outcome.OK) -> Record:
    return Record(1, "a", False, outcome, 0.0, 0.0, sojourn_s, "cpu", 1, 1, (), True)


@given(st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_a_quantile_is_known_to_a_quarter_of_a_percent(sojourns_s, quantile):
    tally = Tally(TASK)
    for sojourn_s in sojourns_s:
        tally.add(record(sojourn_s))
    exact_s = np.quantile(sojourns_s, quantile, method="inverted_cdf")
    assert tally.quantile_s(quantile) == pytest.approx(exact_s, rel=0.0026)
    assert tally.figures().mean_s == pytest.approx(np.mean(sojourns_s))


def test_late_and_unanswered_requests_are_not_in_time():
    tally = Tally(TASK)
    for sojourn_s, outcome in (
        (0.1, Outcome.OK),
        (0.5, Outcome.OK),
        (0.6, Outcome.OK),
        (0.0, Outcome.REJECTED),
    ):
        tally.add(record(sojourn_s, outcome))
    figures = tally.figures()
    assert (figures.requests, figures.dropped, figures.attainment) == (4, 1, 0.5)


def test_nothing_answered_has_no_latency_and_no_slo_has_no_attainment():
    tally = Tally(Task(name="a", model="m"))
    tally.add(record(0.0, Outcome.HOPELESS))
    assert tally.figures() == (1, None, None, None, None, None, 1)
