"""Laws that hold for every load and service: conservation, limits, monotony, consistency."""

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from cotenant.core.errors import WorkloadError
from cotenant.queueing import lindley, mg1, multiserver, network, priority, sharing, swap, tail
from cotenant.queueing.law import Law
from cotenant.queueing.service import (
    Service,
    deterministic,
    exponential,
    from_moments,
    from_samples,
    gamma,
    mixture,
)
from cotenant.queueing.stream import Stream, overload

services = st.one_of(
    st.builds(deterministic, st.floats(1e-3, 0.1)),
    st.builds(gamma, st.floats(1e-3, 0.1), st.floats(0.05, 4.0)),
)


@st.composite
def stable_streams(draw: st.DrawFn, most: int = 4) -> list[Stream]:
    parts = draw(st.lists(st.tuples(services, st.floats(0.05, 1.0)), min_size=1, max_size=most))
    load = draw(st.floats(0.05, 0.9)) / sum(weight for _, weight in parts)
    return [
        Stream(f"s{rank}", weight * load / service.mean_s, service)
        for rank, (service, weight) in enumerate(parts)
    ]


def mean_of_tail(law: Law) -> float:
    """E[X] as the integral of P(X > t)."""
    jumps = [part.floor_s for part in law.parts]  # cells may end at a jump, not contain it
    last_s = law.quantile_s(1 - 1e-6)
    # A law of wide spread falls steeply far below its last quantile.
    spaced = np.union1d(np.linspace(0.0, last_s, 401), np.geomspace(1e-5 * last_s, last_s, 401))
    edges = np.union1d(spaced, jumps)
    middle = (edges[1:] + edges[:-1]) / 2
    return float(law.tail(middle) @ np.diff(edges))


@settings(max_examples=40, deadline=None)
@given(stable_streams())
def test_waiting_times_weighted_by_load_are_conserved(streams: list[Stream]) -> None:
    # Kleinrock's conservation law: every non-preemptive order shares out the same sum.
    first = sum(s.load * a.waiting_s for s, a in zip(streams, mg1.fcfs(streams), strict=True))
    for order in (streams, streams[::-1]):
        answers = priority.nonpreemptive(order)
        ranked = sum(s.load * a.waiting_s for s, a in zip(order, answers, strict=True))
        assert ranked == pytest.approx(first)


@settings(max_examples=12, deadline=None)
@given(stable_streams(), st.floats(0.1, 0.995))
def test_one_class_is_first_come_first_served(streams: list[Stream], quantile: float) -> None:
    [plain] = mg1.fcfs(streams[:1])
    for discipline in (priority.preemptive, priority.nonpreemptive):
        [ranked] = discipline(streams[:1])
        assert ranked.mean_s == pytest.approx(plain.mean_s)
        assert ranked.quantile_s(quantile) == pytest.approx(plain.quantile_s(quantile))


@settings(max_examples=40, deadline=None)
@given(stable_streams())
def test_the_highest_class_sees_only_itself_when_it_interrupts(streams: list[Stream]) -> None:
    alone, beside = mg1.fcfs(streams[:1])[0], priority.preemptive(streams)[0]
    assert beside.mean_s == pytest.approx(alone.mean_s)
    assert beside.utilization == pytest.approx(streams[0].load)


@settings(max_examples=25, deadline=None)
@given(stable_streams(), st.floats(1.001, 1.05))
def test_more_requests_never_wait_less(streams: list[Stream], factor: float) -> None:
    busier = [Stream(s.name, s.rate_rps * factor, s.service) for s in streams]
    for model in (
        mg1.fcfs,
        priority.preemptive,
        priority.nonpreemptive,
        lambda mix: multiserver.fcfs(mix, 2),
    ):
        for before, after in zip(model(streams), model(busier), strict=True):
            assert after.waiting_s >= before.waiting_s


@settings(max_examples=25, deadline=None)
@given(stable_streams(), st.floats(0.0, 4.0))
def test_sharing_does_not_feel_the_spread(streams: list[Stream], scv: float) -> None:
    spread = [Stream(s.name, s.rate_rps, gamma(s.service.mean_s, scv)) for s in streams]
    for one, other in zip(
        sharing.discriminatory(streams, [1.0] * len(streams)),
        sharing.processor_sharing(spread),
        strict=True,
    ):
        assert one.mean_s == pytest.approx(other.mean_s)


@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.generate])
@example([Stream("s0", 2.11, gamma(0.01923, 3.29)), Stream("s1", 0.838, gamma(0.0218, 1 / 3))])
@example([Stream("s0", 13.506276754578531, gamma(0.02462737007228249, 2.8101724487158877))])
@given(stable_streams(most=2))
def test_each_law_has_the_mean_it_states(streams: list[Stream]) -> None:
    shown = [
        mg1.fcfs(streams),
        priority.preemptive(streams),
        priority.nonpreemptive(streams),
        sharing.processor_sharing(streams),
        multiserver.fcfs(streams, 2),
        swap.exact([swap.Swapped(s, 0.05 * s.service.mean_s) for s in streams]),
    ]
    for answers in shown:
        answer = answers[-1]
        assert answer.law.mean_s == pytest.approx(answer.mean_s)
        assert mean_of_tail(answer.law) == pytest.approx(answer.mean_s, rel=2e-2)


@settings(max_examples=12, deadline=None)
@given(stable_streams(), st.floats(0.05, 0.995))
def test_quantile_inverts_the_tail(streams: list[Stream], quantile: float) -> None:
    answer = priority.preemptive(streams)[-1]
    at_s = answer.quantile_s(quantile)
    assert answer.law.tail(at_s * (1 + 1e-6))[0] <= 1 - quantile + 1e-6
    assert answer.law.tail(at_s * (1 - 1e-6))[0] >= 1 - quantile - 1e-6
    assert tail.attainment(answer, at_s * (1 + 1e-6)) >= quantile - 1e-6


@settings(max_examples=10, deadline=None)
@given(stable_streams(), st.floats(0.2, 0.99))
def test_swaps_that_cost_nothing_are_first_come_first_served(
    streams: list[Stream], quantile: float
) -> None:
    free = [swap.Swapped(stream, 0.0) for stream in streams]
    for plain, one, other in zip(
        mg1.fcfs(streams), swap.exact(free), swap.independent(free), strict=True
    ):
        assert one.mean_s == pytest.approx(plain.mean_s)
        assert other.mean_s == pytest.approx(plain.mean_s)
        assert one.quantile_s(quantile) == pytest.approx(plain.quantile_s(quantile), rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(stable_streams())
def test_folding_keeps_every_mean(streams: list[Stream]) -> None:
    whole, one = mg1.aggregate(streams), mg1.folded(streams)
    assert one.load == pytest.approx(whole.load)
    plain = mg1.mean_waiting_s(whole.rate_rps, whole.service)
    assert mg1.mean_waiting_s(one.rate_rps, one.service) == pytest.approx(plain)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=300))
def test_samples_keep_their_moments(samples: list[float]) -> None:
    service = from_samples(samples)
    assert service.mean_s == pytest.approx(np.mean(samples))
    assert service.second_moment_s2 == pytest.approx(np.mean(np.square(samples)))
    assert service.law.mean_s == pytest.approx(service.mean_s)
    assert min(samples) <= service.quantile_s(0.5) * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(services, st.floats(0.5, 3.0), st.floats(0.1, 0.99))
def test_slowing_down_scales_every_quantile(
    service: Service, factor: float, quantile: float
) -> None:
    slowed = service.scaled(factor)
    assert slowed.scv == pytest.approx(service.scv, abs=1e-9)
    assert slowed.quantile_s(quantile) == pytest.approx(factor * service.quantile_s(quantile))


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 5.0)), min_size=1, max_size=60))
def test_unrolled_recursion_is_lindleys(gaps_and_needs: list[tuple[float, float]]) -> None:
    gaps, needs = np.array(gaps_and_needs).T
    waits = [0.0]
    for gap, need in zip(gaps[1:], needs[:-1], strict=True):
        waits.append(max(0.0, waits[-1] + need - gap))
    assert lindley.waiting_s(np.cumsum(gaps), needs) == pytest.approx(np.array(waits), abs=1e-9)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Stream("cam", -1.0, exponential(1.0)), "'cam' has a rate of -1.0/s"),
        (lambda: from_moments(1.0, 0.9), "under the square of the mean"),
        (lambda: from_moments(float("nan"), 1.0), "mean service time of nan"),
        (lambda: gamma(1.0, -0.5), "squared coefficient of variation of -0.5"),
        (lambda: deterministic(0.0), "give a finite one over 0 s"),
        (lambda: from_samples([]), "at least one finite time"),
        (lambda: from_samples([0.1, -0.1]), "at least one finite time"),
        (lambda: mixture([(0.0, exponential(1.0))]), "weights of a mixture"),
        (lambda: exponential(1.0).quantile_s(1.0), "quantile 1.0 has no finite value"),
        (lambda: overload([]), "no stream"),
        (lambda: network.tandem([]), "no stage"),
        (lambda: multiserver.erlang_b(0, 1.0), "at least one"),
        (lambda: swap.exact([swap.Swapped(Stream("m", 1.0, exponential(0.1)), -1.0)]), "swap time"),
        (lambda: sharing.discriminatory([Stream("m", 1.0, exponential(0.1))], []), "weights"),
        (lambda: tail.gamma_quantile_s(1.0, -1.0, 0.5), "variance -1.0"),
    ],
)
def test_nonsense_is_refused_with_a_remedy(wrong, says: str) -> None:
    with pytest.raises(WorkloadError, match=says):
        wrong()
