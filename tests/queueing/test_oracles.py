"""Closed forms of the literature as oracles, exact where the implementation is numeric."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from cotenant.queueing import batch, mg1, multiserver, network, periodic, priority, sharing, swap
from cotenant.queueing.law import total
from cotenant.queueing.service import deterministic, exponential, gamma, mixture
from cotenant.queueing.stream import Pattern, Sojourn, Stream, Unstable

LOADS = [0.3, 0.6, 0.9]


def md1_waiting_at_most(load: float, time: float) -> float:
    """P(W <= t) of M/D/1 with unit service: Erlang (1909), Crommelin (1932)."""
    return (1 - load) * math.fsum(
        (load * (k - time)) ** k / math.factorial(k) * math.exp(-load * (k - time))
        for k in range(int(time) + 1)
    )


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("time", [0.25, 0.9, 1.1, 2.5, 4.2])
def test_tail_of_md1(load: float, time: float) -> None:
    law = mg1.waiting_law(load, deterministic(1.0))
    assert law.tail(time)[0] == pytest.approx(1 - md1_waiting_at_most(load, time), abs=2e-4)


@pytest.mark.parametrize("load", LOADS)
def test_quantile_inside_the_jump_of_md1_is_the_service_itself(load: float) -> None:
    [answer] = mg1.fcfs([Stream("a", load, deterministic(1.0))])
    assert answer.quantile_s((1 - load) * 0.999) == 1.0
    assert answer.quantile_s((1 - load) * 1.001 + 1e-3) > 1.0


@pytest.mark.parametrize("load", LOADS)
def test_tail_of_mm1_to_seven_digits(load: float) -> None:
    [answer] = mg1.fcfs([Stream("a", load, exponential(1.0))])
    times = np.array([0.1, 1.0, 10.0, 50.0])
    assert answer.law.tail(times) == pytest.approx(np.exp(-(1 - load) * times), abs=1e-7)


@pytest.mark.parametrize("load", LOADS)
def test_tail_of_dm1(load: float) -> None:
    sigma = brentq(lambda x: x - math.exp(-(1 - x) / load), 0.0, 1 - 1e-9)
    answer = periodic.alone(Stream("a", load, exponential(1.0), Pattern.PERIODIC))
    assert answer.waiting_s == pytest.approx(sigma / (1 - sigma), rel=5e-3)
    times = np.array([1.0, 3.0])
    assert answer.law.tail(times) == pytest.approx(np.exp(-(1 - sigma) * times), abs=2e-3)


@pytest.mark.parametrize(
    ("servers", "offered", "blocked"),
    [(1, 0.5, 0.333333), (5, 3.0, 0.110054), (20, 15.0, 0.045593)],
)
def test_erlang_tables(servers: int, offered: float, blocked: float) -> None:
    assert multiserver.erlang_b(servers, offered) == pytest.approx(blocked, abs=1e-6)


def test_a_saturated_lower_class_is_a_server_that_takes_vacations() -> None:
    # Levy and Yechiali (1975): W = Pollaczek-Khinchine + E[V^2] / (2 E[V]).
    high, low = Stream("h", 30.0, gamma(0.02, 0.5)), Stream("l", 1e3, gamma(0.05, 2.0))
    answer, _ = priority.nonpreemptive([high, low])
    residual_s = low.service.second_moment_s2 / (2 * low.service.mean_s)
    expected_s = mg1.mean_waiting_s(high.rate_rps, high.service) + residual_s
    assert answer.waiting_s == pytest.approx(expected_s)


@pytest.mark.parametrize("load", LOADS)
def test_busy_period_of_mm1_has_the_transform_of_takacs(load: float) -> None:
    busy = mg1.busy_period(Stream("a", load, exponential(1.0)))
    for s in (0.01, 1.0, 5.0 + 3.0j):
        middle = load + 1 + s
        expected = (middle - np.sqrt(middle**2 - 4 * load + 0j)) / (2 * load)
        assert busy.law.transform(np.array([s], dtype=complex))[0] == pytest.approx(expected)


@pytest.mark.parametrize("load", LOADS)
def test_sharing_of_exponential_services_has_the_variance_of_coffman(load: float) -> None:
    # Coffman, Muntz and Trotter (1970), service x and unit rate.
    x, slack = np.array([0.2, 1.0, 3.0]), 1 - load
    expected = 2 * load / slack**3 * (x - (1 - np.exp(-slack * x)) / slack)
    _, variance = sharing.delay_moments(x, Stream("a", load, exponential(1.0)))
    assert variance == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("load", LOADS)
def test_batches_of_one_are_md1(load: float) -> None:
    lone = batch.batched("a", load, [deterministic(1.0)])
    assert lone.mean_s == pytest.approx(1 + load / (2 * (1 - load)), rel=1e-6)


def test_full_batches_wait_for_the_delay_when_load_is_light() -> None:
    lone = batch.batched("a", 1e-6, [deterministic(0.01)] * 8, max_delay_s=0.05)
    assert lone.mean_s == pytest.approx(0.06, rel=1e-5)


@pytest.mark.parametrize("count", [2, 5, 9])
def test_same_period_mean_by_integration(count: int) -> None:
    answer = periodic.same_period(count, 10.0, 1.0)
    times = np.linspace(0, count - 1, 20001)
    tails = periodic.same_period_tail(count, 10.0, 1.0, times)
    assert np.trapezoid(tails, times) == pytest.approx(answer.waiting_s, rel=1e-4)
    assert np.all(np.diff(tails) <= 1e-12)


def test_mm1_stages_in_a_row_are_hypoexponential() -> None:
    stages = [mg1.fcfs([Stream("a", 0.5, exponential(mean))])[0] for mean in (1.0, 0.5)]
    path = network.tandem(stages)
    fast, slow = 1.5, 0.5  # mu - lambda of each
    expected = (fast * math.exp(-slow * 3) - slow * math.exp(-fast * 3)) / (fast - slow)
    assert path.law.tail(3.0)[0] == pytest.approx(expected, abs=1e-7)
    assert path.mean_s == pytest.approx(1 / fast + 1 / slow)


def test_many_jumps_are_blended_without_losing_the_sum() -> None:
    coin = gamma(1.0, 0.2).law
    two = total([coin, total([deterministic(0.3).law, coin])])
    assert two.mean_s == pytest.approx(2.3)
    assert two.tail(0.29)[0] == 1.0


@pytest.mark.parametrize("models", [("mobilenet-v1", "ssd-v1"), ("inception-v4", "efficientnet-s")])
def test_published_swap_counts_less_spread_than_there_is(models: tuple[str, str]) -> None:
    swapped = [
        swap.Swapped(
            Stream(name, 5.0, deterministic(swap.EDGE_TPU[name][0])), swap.EDGE_TPU[name][1]
        )
        for name in models
    ]
    for plain, spread in zip(swap.published(swapped), swap.independent(swapped), strict=True):
        assert plain.mean_s < spread.mean_s
        assert plain.utilization == pytest.approx(spread.utilization)


def test_overload_names_the_stream_that_breaks_it() -> None:
    streams = [Stream(n, 40.0, exponential(0.01)) for n in "abc"]
    broken = Unstable(pytest.approx(1.2), "c")
    assert mg1.fcfs(streams) == (broken,) * 3
    assert sharing.processor_sharing(streams) == (broken,) * 3
    assert swap.exact([swap.Swapped(s, 0.0) for s in streams]) == (broken,) * 3
    assert network.tandem([mg1.fcfs(streams)[0], network.delay(exponential(1.0))]) == broken
    high, middle, low = priority.preemptive(streams)
    assert isinstance(high, Sojourn)
    assert isinstance(middle, Sojourn)
    assert low == broken
    assert isinstance(multiserver.fcfs(streams, 2)[0], Sojourn)
    assert isinstance(periodic.same_period(5, 0.1, 0.03), Unstable)


@pytest.mark.parametrize("quantile", [1.0 - 1e-6, 1.0 - 1e-10, 1.0 - 1e-13])
def test_a_quantile_beyond_what_inversion_can_tell_is_still_a_time(quantile):
    law = exponential(1.0).law
    assert law.quantile_s(0.999) < law.quantile_s(quantile) < 100.0


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_quantile_between_two_far_humps_is_found(share):
    law = mixture([(share, gamma(0.01, 0.01)), (1.0 - share, gamma(1.0, 0.01))]).law
    for quantile in (0.01, 0.3, 0.7, 0.99):
        assert law.tail(law.quantile_s(quantile))[0] == pytest.approx(1.0 - quantile, abs=1e-7)
