"""The virtual clock against closed forms where both hold, and alone where only it does."""

import numpy as np
import pytest

from cotenant.core.workload import Workload
from cotenant.prediction.predict import predict
from cotenant.prediction.tenancy import mix_of
from cotenant.prediction.virtual import Budget, VirtualClock, quantile_draw, scene_of, segment_draw
from cotenant.profiling.profile import service_time
from cotenant.queueing.stream import Sojourn
from tests.prediction.made_up import fixed, made_up, subject_of, task

CLOCK = VirtualClock(Budget(requests=40_000))


def on_clock(tasks, profile, policy="cotenant"):
    workload = Workload(policy=policy, tasks=tasks)
    return CLOCK(workload, profile, mix_of(workload, profile, subject_of, policy == "cotenant"))


def mean_s(stay):
    assert isinstance(stay.answer, Sojourn)
    return stay.answer.mean_s


@pytest.mark.parametrize("rho", [0.3, 0.6])
def test_one_poisson_task_is_m_d_1(rho):
    stays = on_clock([task("a", "m", rho / 0.01)], made_up({"m": 0.01}))
    assert mean_s(stays["a"]) == pytest.approx(0.01 + 0.01 * rho / (2 * (1 - rho)), rel=0.03)


def test_best_effort_work_feels_critical_work_as_preemptive_resume():
    tasks = [task("high", "m", 20.0, criticality="critical"), task("low", "n", 10.0)]
    stays = on_clock(tasks, made_up({"m": 0.01, "n": 0.03}))
    residual_s = (20.0 * 0.01**2 + 10.0 * 0.03**2) / 2
    assert mean_s(stays["high"]) == pytest.approx(0.01 + 20.0 * 0.01**2 / 2 / 0.8, rel=0.03)
    assert mean_s(stays["low"]) == pytest.approx(0.03 / 0.8 + residual_s / (0.8 * 0.5), rel=0.05)


def test_what_linux_keeps_for_the_rest_is_taken_from_critical_work():
    tasks = [task("high", "m", 20.0, criticality="critical"), task("low", "n", 1.0)]
    none, some = (
        on_clock(tasks, made_up({"m": 0.045, "n": 0.03}, respite_s=respite_s))
        for respite_s in (0.0, 0.05)
    )
    assert mean_s(none["high"]) == pytest.approx(0.045 + 0.045 * 0.9 / (2 * 0.1), rel=0.1)
    assert mean_s(some["high"]) > 1.01 * mean_s(none["high"])
    assert mean_s(some["low"]) < 0.8 * mean_s(none["low"])


def test_critical_work_slows_by_what_its_neighbour_costs():
    # The neighbour never stops, so every request meets it; the guard's bound is not reached.
    tasks = [task("det", "m", 5.0, "periodic", criticality="critical"), task("bulk", "n", None)]
    stays = on_clock(tasks, made_up({"m": 0.01, "n": 0.03}, {("m", "n"): 1.05}))
    assert mean_s(stays["det"]) == pytest.approx(0.0105, rel=1e-3)


def test_best_effort_neighbours_share_and_interfere():
    # Two closed loops, each 30 ms alone: half the machine each, and a fifth more for company.
    # `busy` is 1, so a measured slowdown of 2.4 is 2 for sharing times 1.2.
    pairs = {("m", "n"): 2.4, ("n", "m"): 2.4}
    stays = on_clock(
        [task("a", "m", None), task("b", "n", None)], made_up({"m": 0.03, "n": 0.03}, pairs)
    )
    assert mean_s(stays["a"]) == pytest.approx(0.03 * 2.4, rel=0.02)


def test_a_model_that_follows_another_takes_what_it_took_in_turns():
    made = made_up({"m": 0.1, "n": 0.2})
    alone = [
        one.model_copy(update={"warm": 0.8, "in_turns": in_turns})
        for one, in_turns in zip(made.alone, (1.2, 1.1), strict=True)
    ]
    profile = made_up({}, alone=alone)
    tasks = [task("a", "m", None), task("b", "n", None)]
    # First come first served, two closed loops take turns: each waits for the other.
    for stay in on_clock(tasks, profile, "sequential").values():
        assert mean_s(stay) == pytest.approx(0.1 * 1.2 + 0.2 * 1.1, rel=1e-3)
    assert mean_s(on_clock(tasks[:1], profile)["a"]) == pytest.approx(0.1 * 0.8, rel=1e-3)


def test_what_is_lost_is_counted():
    stays = on_clock([task("a", "m", 200.0, queue={"max_size": 1})], made_up({"m": 0.01}))
    dropped = stays["a"].dropped
    assert dropped is not None
    assert dropped > 0.5  # twice as much arrives as can be served


def test_draws_have_the_measured_mean_and_stay_between_the_quantiles():
    measured = service_time(np.random.default_rng(2).gamma(4.0, 0.01, 5000))
    drawn_s = quantile_draw(measured, 1.5)(np.random.default_rng(3), 100_000)
    assert drawn_s.mean() == pytest.approx(1.5 * measured.mean_s, rel=0.01)


@pytest.mark.parametrize("shared", [0.0, 0.4, 1.0])
def test_segments_draw_their_own_times_and_make_the_moments_of_the_whole(shared):
    rng = np.random.default_rng(4)
    own = rng.gamma(4.0, [[0.002], [0.001]], (2, 50_000))
    # In some requests the same rank in both segments, as where the clock's rate changed.
    own[1] = np.where(rng.random(50_000) < shared, own[0] / 2.0, own[1])
    whole = service_time(own.sum(axis=0))
    drawn_s = segment_draw(whole, [service_time(one) for one in own])(rng, 200_000)
    assert drawn_s.mean(axis=0) == pytest.approx(own.mean(axis=1), rel=0.01)
    assert drawn_s.sum(axis=1).mean() == pytest.approx(whole.mean_s, rel=0.01)
    assert drawn_s.sum(axis=1).std() == pytest.approx(own.sum(axis=0).std(), rel=0.05)


def test_the_clock_serves_each_segment_in_its_own_time():
    # What passes between the segments, 1 ms here, counts as theirs.
    parts = {"m": [fixed(0.003), fixed(0.006)]}
    profile = made_up({"m": 0.01}, by_segment=parts)
    workload = Workload(tasks=[task("a", "m", 1.0, segments=2)])
    mix = mix_of(workload, profile, subject_of, True)
    scene = scene_of(workload, profile, mix, np.random.default_rng(5))
    times_s = [scene.service("a", 1, segment) for segment in (0, 1, 0, 1)]
    assert times_s == pytest.approx([0.01 / 3, 0.02 / 3] * 2)


def test_a_long_segment_holds_critical_work_up_longer_than_two_equal_ones():
    # Gated: a critical request waits for the rest of the segment that it meets.
    tasks = [task("det", "n", 1.0, criticality="critical"), task("bulk", "m", None, segments=2)]
    late_s = [
        mean_s(
            on_clock(
                tasks,
                made_up(
                    {"m": 0.1, "n": 0.001},
                    by_segment={"m": [fixed(first_s), fixed(0.1 - first_s)]},
                    preemptive=False,
                ),
            )["det"]
        )
        for first_s in (0.05, 0.01)
    ]
    # A loop that never stops: the mean rest of what is met is E[S^2] / 2 E[S].
    assert late_s[0] == pytest.approx(0.001 + 0.05**2 / 0.1, rel=0.1)
    assert late_s[1] == pytest.approx(0.001 + (0.01**2 + 0.09**2) / 0.2, rel=0.1)


def test_the_rarest_task_sets_the_length_within_the_budget():
    workload = Workload(tasks=[task("a", "m", 99.0), task("b", "m", 1.0)])
    mix = mix_of(workload, made_up({"m": 0.001}), subject_of, True)
    assert Budget(requests=10, rarest=50).of(mix) == 5000
    assert Budget(requests=10, rarest=50, most=700).of(mix) == 700


def test_the_predictor_takes_the_clock_only_where_no_closed_form_holds():
    exact = Workload(tasks=[task("a", "m", 20.0)])
    mixed = Workload(tasks=[task("a", "m", 20.0, criticality="critical"),
                            task("b", "n", 2.0, "periodic"), task("c", "n", 2.0)])  # fmt: skip
    profile = made_up({"m": 0.01, "n": 0.03})
    methods = [
        {one.method for one in predict(each, profile, subject_of, simulate=CLOCK).tasks}
        for each in (exact, mixed)
    ]
    assert methods[0] == {"M/G/1 first come first served"}
    assert "virtual clock" in methods[1]

    entangled = made_up({"m": 0.01, "n": 0.03}, {("m", "n"): 1.05})
    answer = predict(mixed, entangled, subject_of, simulate=CLOCK)
    assert {one.method for one in answer.tasks} == {"virtual clock"}
