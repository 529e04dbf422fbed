"""Observed times against the answers that sorting them gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.errors import WorkloadError
from cotenant.queueing.empirical import empirical

TIMES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=50)


@given(TIMES, st.floats(0.0, 1e3))
def test_the_tail_counts_what_is_later(times_s, time_s):
    later = sum(one > time_s for one in times_s) / len(times_s)
    assert empirical(times_s).tail(time_s)[0] == pytest.approx(later)


@given(TIMES, st.floats(0.01, 0.99))
def test_a_quantile_lies_among_the_times_whatever_their_order(times_s, quantile):
    quantile_s = empirical(times_s).quantile_s(quantile)
    assert min(times_s) <= quantile_s <= max(times_s)
    assert quantile_s == empirical(times_s[::-1]).quantile_s(quantile)


def test_of_many_exponential_times_it_finds_the_quantiles():
    times_s = np.random.default_rng(1).exponential(2.0, 200_000)
    assert empirical(times_s).quantile_s(0.99) == pytest.approx(2.0 * np.log(100), rel=0.02)


def test_nothing_observed_says_nothing():
    with pytest.raises(WorkloadError, match="no time was observed"):
        empirical([])
