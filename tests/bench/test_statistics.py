"""Bootstrap intervals against ratios that are known, and against the definition."""

import numpy as np
import pytest

from cotenant.bench.statistics import (
    percentile_interval,
    quantile_difference,
    quantile_ratio,
    resampled_means,
    resampled_quantiles,
)


@pytest.mark.parametrize(("quantile", "requests"), [(0.5, 80), (0.95, 200)])
def test_intervals_cover_the_true_ratio_at_about_the_nominal_rate(
    quantile: float, requests: int
) -> None:
    rng = np.random.default_rng(11)
    true_ratio, repeats, covered = 1.3, 200, 0
    for _ in range(repeats):
        # Both scaled copies of one law, in three rounds: every quantile has the ratio 1.3.
        alone = [rng.lognormal(0.0, 0.3, requests) for _ in range(3)]
        mixed = [true_ratio * rng.lognormal(0.0, 0.3, requests) for _ in range(3)]
        interval = quantile_ratio(mixed, alone, quantile, rng, resamples=300)
        covered += interval.low <= true_ratio <= interval.high
    # Binomial(200, 0.95): 0.90 and 0.99 lie three standard deviations away.
    assert 0.90 <= covered / repeats <= 0.99


def test_value_is_the_plain_figure_and_lies_inside() -> None:
    rng = np.random.default_rng(5)
    long, short = [np.arange(10.0, 30.0)], [np.arange(1.0, 21.0)]
    ratio = quantile_ratio(long, short, 0.5, rng)
    difference = quantile_difference(long, short, 0.5, rng)
    assert ratio.value == 19.5 / 10.5
    assert difference.value == 9.0
    assert ratio.low <= ratio.value <= ratio.high
    assert difference.low <= 9.0 <= difference.high


def test_rounds_are_strata() -> None:
    # Two rounds of constant values: resampling within rounds can never change the mean,
    # resampling across them would.
    rounds = [np.full(10, 1.0), np.full(30, 5.0)]
    means = resampled_means(rounds, np.random.default_rng(1), 500)
    assert np.allclose(means, 4.0, rtol=0.0, atol=1e-12)


def test_blocks_of_resamples_are_resamples() -> None:
    # So many values that they are drawn in several blocks.
    rounds = [np.random.default_rng(0).normal(size=50_000)]
    medians = resampled_quantiles(rounds, 0.5, np.random.default_rng(1), 100)
    assert medians.shape == (100,)
    assert np.unique(medians).size > 90
    # Standard error of the median of a normal law: sqrt(pi / 2 / n).
    assert np.isclose(medians.std(), np.sqrt(np.pi / 2 / 50_000), rtol=0.35)


def test_interval_is_the_middle_95_percent() -> None:
    interval = percentile_interval(0.5, np.linspace(0.0, 1.0, 1001))
    assert np.allclose(interval, (0.5, 0.025, 0.975))


def test_one_seed_one_interval() -> None:
    values = [np.random.default_rng(2).exponential(size=60)]
    first, second = (
        quantile_ratio(values, values, 0.99, np.random.default_rng(9)) for _ in range(2)
    )
    assert first == second
