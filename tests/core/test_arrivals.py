"""Arrival schedules: their rate, order, bounds and repeatability, whatever the numbers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.arrivals import draw_arrivals, mean_rate_rps, read_trace
from cotenant.core.errors import WorkloadError
from cotenant.core.task import ClosedLoop, Periodic, Poisson, Trace

rates = st.floats(0.1, 500.0)
horizons = st.floats(0.0, 20.0)
seeds = st.integers(0, 2**32)


@given(rates, horizons, seeds)
def test_periodic_keeps_its_period_and_its_count(rate: float, horizon: float, seed: int) -> None:
    arrivals = Periodic(kind="periodic", rate_rps=rate)
    times_s = draw_arrivals(arrivals, horizon, np.random.default_rng(seed))
    assert abs(times_s.size - rate * horizon) <= 1.0
    assert np.allclose(np.diff(times_s), 1.0 / rate)
    assert times_s.size == 0 or (0.0 <= times_s[0] <= 1.0 / rate and times_s[-1] < horizon)


@given(rates, horizons, seeds)
def test_poisson_is_sorted_bounded_and_repeatable(rate: float, horizon: float, seed: int) -> None:
    arrivals = Poisson(kind="poisson", rate_rps=rate)
    times_s = draw_arrivals(arrivals, horizon, np.random.default_rng(seed))
    again_s = draw_arrivals(arrivals, horizon, np.random.default_rng(seed))
    assert np.array_equal(times_s, again_s)
    assert np.all(np.diff(times_s) >= 0.0)
    assert np.all((times_s >= 0.0) & (times_s < horizon))
    # Six standard deviations: the count of a Poisson stream has the variance of its mean.
    assert abs(times_s.size - rate * horizon) <= 6.0 * np.sqrt(rate * horizon) + 6.0


def test_poisson_gaps_are_exponential() -> None:
    arrivals = Poisson(kind="poisson", rate_rps=50.0)
    gaps_s = np.diff(draw_arrivals(arrivals, 400.0, np.random.default_rng(3)))
    # Exponential: standard deviation equals the mean, and P(gap > mean) = 1/e.
    assert np.isclose(gaps_s.std() / gaps_s.mean(), 1.0, atol=0.03)
    assert np.isclose(np.mean(gaps_s > gaps_s.mean()), np.exp(-1.0), atol=0.01)


milliseconds = st.integers(0, 5000).map(lambda number: number / 1000.0)


@given(st.lists(milliseconds, min_size=1, max_size=20).map(sorted), st.floats(0.1, 30.0))
def test_a_short_trace_is_played_again(
    tmp_path_factory: pytest.TempPathFactory, times: list[float], horizon: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "trace.txt"
    path.write_text("# seconds\n" + "\n".join(map(repr, times)) + "\n")
    trace = Trace(kind="trace", path=path)
    times_s = draw_arrivals(trace, horizon, np.random.default_rng(0))
    first = [time for time in times if time < horizon]
    assert np.array_equal(times_s[: len(first)], first)
    assert np.all(np.diff(times_s) >= 0.0)
    rate_rps = mean_rate_rps(trace)
    assert rate_rps is not None
    assert abs(times_s.size - rate_rps * horizon) <= len(times)


@pytest.mark.parametrize(
    ("text", "line"), [("1\n0.5\n", 2), ("0\nsoon\n", 2), ("-1\n", 1), ("nan\n", 1)]
)
def test_a_bad_trace_names_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(text)
    with pytest.raises(WorkloadError, match=f"trace.txt:{line}:"):
        read_trace(path)


def test_an_empty_or_missing_trace_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(WorkloadError, match="at least one"):
        read_trace(tmp_path / "empty.txt")
    with pytest.raises(WorkloadError, match="cannot read"):
        read_trace(tmp_path / "missing.txt")


def test_a_closed_loop_states_no_rate() -> None:
    assert mean_rate_rps(ClosedLoop(kind="closed-loop")) is None
    assert mean_rate_rps(Poisson(kind="poisson", rate_rps=4.0)) == 4.0
