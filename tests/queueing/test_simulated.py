"""Theory against the queues themselves: each value lies in the simulation's confidence interval."""

from collections.abc import Callable

import numpy as np
import pytest

from cotenant.queueing import batch, lindley, mg1, multiserver, periodic, sharing, swap
from cotenant.queueing import priority as priorities
from cotenant.queueing.service import Service, deterministic, exponential, gamma
from cotenant.queueing.stream import Answer, Pattern, Sojourn, Stream, Unstable
from tests.queueing import simulators
from tests.queueing.simulators import Mix, interval

LOADS = [0.3, 0.6, 0.9]
SERVICES = [deterministic(0.02), exponential(0.05), gamma(0.01, 3.0)]
SHARES = [0.3, 0.5, 0.2]  # of the load


def streams_at(load: float, services: list[Service] = SERVICES) -> list[Stream]:
    return [
        Stream(f"s{rank}", load * share / service.mean_s, service)
        for rank, (share, service) in enumerate(zip(SHARES, services, strict=False))
    ]


def simulated(streams: list[Stream], requests: int, seed: int) -> Mix:
    rng = np.random.default_rng(seed)

    def drawn(service: Service) -> Callable[[int], np.ndarray]:
        if service.scv == 0.0:
            return lambda count: np.full(count, service.mean_s)
        return lambda count: rng.gamma(1 / service.scv, service.mean_s * service.scv, count)

    rates = [stream.rate_rps for stream in streams]
    return simulators.poisson_mix(rng, rates, [drawn(s.service) for s in streams], requests)


def requests_at(load: float) -> int:
    return 30_000 if load < 0.9 else 120_000


def assert_agree(
    answers: tuple[Answer, ...], sojourn_s: np.ndarray, owner: np.ndarray, tails: bool = True
) -> None:
    for rank, answer in enumerate(answers):
        own = sojourn_s[owner == rank]
        assert isinstance(answer, Sojourn)
        assert answer.mean_s in interval(own)
        for quantile in (0.5, 0.95) if tails else ():
            limit_s = answer.quantile_s(quantile)
            # At a jump of the distribution, more than the quantile may be at or under it.
            assert interval((own < limit_s * (1 - 1e-6)).astype(float)).low <= quantile
            assert interval((own <= limit_s * (1 + 1e-6)).astype(float)).high >= quantile


@pytest.mark.parametrize("load", LOADS)
def test_first_come_first_served(load: float) -> None:
    streams = streams_at(load)
    mix = simulated(streams, requests_at(load), seed=11)
    assert_agree(mg1.fcfs(streams), simulators.fcfs(mix), mix.owner)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("discipline", [priorities.preemptive, priorities.nonpreemptive])
def test_priorities(discipline: Callable[..., tuple[Answer, ...]], load: float) -> None:
    streams = streams_at(load)
    mix = simulated(streams, requests_at(load), seed=12)
    sojourn_s = simulators.priority(mix, preemptive=discipline is priorities.preemptive)
    assert_agree(discipline(streams), sojourn_s, mix.owner)


def test_a_class_above_a_saturated_one_meets_it_at_every_arrival() -> None:
    high, low = Stream("high", 20.0, exponential(0.02)), Stream("low", 50.0, deterministic(0.03))
    mix = simulated([high, low], 60_000, seed=13)
    sojourn_s = simulators.priority(mix, preemptive=False)
    answer, saturated = priorities.nonpreemptive([high, low])
    assert saturated == Unstable(0.4 + 1.5, "low")
    assert_agree((answer,), sojourn_s, mix.owner)


@pytest.mark.parametrize("load", LOADS)
def test_processor_sharing(load: float) -> None:
    streams = streams_at(load)
    mix = simulated(streams, requests_at(load), seed=14)
    sojourn_s = simulators.sharing(mix, [1.0, 1.0, 1.0])
    answers = sharing.processor_sharing(streams)
    assert_agree(answers, sojourn_s, mix.owner, tails=False)


@pytest.mark.parametrize("load", LOADS)
def test_delay_of_a_shared_request_has_the_stated_variance(load: float) -> None:
    stream = Stream("a", load / 0.02, deterministic(0.02))
    mix = simulated([stream], requests_at(load), seed=15)
    sojourn_s = simulators.sharing(mix, [1.0])
    mean_s, variance_s2 = sharing.delay_moments(np.array([0.02]), stream)
    spread = (sojourn_s - 0.02 - mean_s[0]) ** 2
    assert float(variance_s2[0]) in interval(spread)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_shared_quantiles_are_close(load: float, quantile: float) -> None:
    # The gamma delay is an approximation: its stated error is 8 % in the quantile.
    for service in (deterministic(0.02), exponential(0.02)):
        stream = Stream("a", load / 0.02, service)
        mix = simulated([stream], 120_000, seed=16)
        [answer] = sharing.processor_sharing([stream])
        seen_s = np.quantile(simulators.sharing(mix, [1.0]), quantile)
        assert answer.quantile_s(quantile) == pytest.approx(seen_s, rel=0.08)


@pytest.mark.parametrize("load", LOADS)
def test_discriminatory_sharing(load: float) -> None:
    streams = streams_at(load, [exponential(0.02), exponential(0.05), exponential(0.01)])
    weights = [4.0, 1.0, 2.0]
    mix = simulated(streams, requests_at(load), seed=17)
    answers = sharing.discriminatory(streams, weights)
    assert_agree(answers, simulators.sharing(mix, weights), mix.owner, tails=False)


@pytest.mark.parametrize("load", LOADS)
def test_many_servers(load: float) -> None:
    streams = [Stream("a", 3 * load / 0.05, exponential(0.05))]
    mix = simulated(streams, requests_at(load), seed=18)
    assert_agree(multiserver.fcfs(streams, 3), simulators.fcfs(mix, servers=3), mix.owner)


@pytest.mark.parametrize("load", LOADS)
def test_lee_longton_mean_is_close(load: float) -> None:
    # An approximation: its stated error is 10 % of the sojourn time.
    streams = [Stream("a", 4 * load / 0.05, deterministic(0.05))]
    mix = simulated(streams, requests_at(load), seed=19)
    [answer] = multiserver.fcfs(streams, 4)
    assert answer.mean_s == pytest.approx(simulators.fcfs(mix, servers=4).mean(), rel=0.10)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("models", [("inception-v4", "mobilenet-v1"), ("ssd-v2", "mobilenet-v2")])
def test_swaps(models: tuple[str, str], load: float) -> None:
    share = np.array([0.25, 0.75])
    need_s, swap_s = np.array([swap.EDGE_TPU[name] for name in models]).T
    rate_rps = load / float(share @ (need_s + (1 - share) * swap_s))
    rng = np.random.default_rng(20)
    requests = 4 * requests_at(load)
    owner = rng.choice(2, requests, p=share)
    displaced = np.append(True, owner[1:] != owner[:-1])
    taken_s = need_s[owner] + swap_s[owner] * displaced
    arrival_s = np.cumsum(rng.exponential(1 / rate_rps, requests))
    sojourn_s = simulators.fcfs(Mix(arrival_s, taken_s, owner))
    swapped = [
        swap.Swapped(Stream(name, rate_rps * part, deterministic(need)), cost)
        for name, part, need, cost in zip(models, share, need_s, swap_s, strict=True)
    ]
    assert_agree(swap.exact(swapped), sojourn_s, owner)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("max_delay_s", [0.0, 0.05])
def test_batches(max_delay_s: float, load: float) -> None:
    services = [deterministic(0.02 + 0.01 * size) for size in range(4)]
    rate_rps = load * 4 / 0.05
    rng = np.random.default_rng(21)
    arrival_s = np.cumsum(rng.exponential(1 / rate_rps, requests_at(load)))
    sojourn_s = simulators.batching(arrival_s, lambda n: 0.01 + 0.01 * n, 4, max_delay_s)
    answer = batch.batched("a", rate_rps, services, max_delay_s)
    assert answer.mean_s in interval(sojourn_s)


@pytest.mark.parametrize("load", LOADS)
def test_periodic_alone(load: float) -> None:
    stream = Stream("camera", load / 0.02, gamma(0.02, 0.5), Pattern.PERIODIC)
    rng = np.random.default_rng(22)
    requests = requests_at(load)
    mix = Mix(
        np.arange(requests) / stream.rate_rps,
        rng.gamma(2.0, 0.01, requests),
        np.zeros(requests, dtype=int),
    )
    assert_agree((periodic.alone(stream),), simulators.fcfs(mix), mix.owner)


@pytest.mark.parametrize("load", LOADS)
def test_sampled_mix_of_equal_periods_is_the_exact_one(load: float) -> None:
    cameras = [
        Stream(f"c{rank}", 10.0, deterministic(load / 50), Pattern.PERIODIC) for rank in range(5)
    ]
    exact = periodic.same_period(5, 0.1, load / 50)
    sampled = lindley.fcfs(cameras, np.random.default_rng(23), requests=50, phases=1500)
    waits = np.array([answer.waiting_s for answer in sampled])
    assert waits.mean() == pytest.approx(exact.waiting_s, rel=0.06)
    assert exact.waiting_s <= lindley.fcfs(cameras, np.random.default_rng(1))[0].law.mean_s
