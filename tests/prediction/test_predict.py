"""The predictor against the closed forms that it must reduce to, and against common sense."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotenant.core.errors import Unsupported, WorkloadError
from cotenant.core.workload import Workload
from cotenant.prediction.capacity import capacity
from cotenant.prediction.change import with_field, with_rates, with_tasks, without
from cotenant.prediction.predict import predict
from cotenant.prediction.station import Stay
from cotenant.prediction.virtual import VirtualClock
from cotenant.queueing import inversion, mg1
from cotenant.queueing.service import deterministic
from cotenant.queueing.stream import Sojourn, Stream
from tests.prediction.made_up import made_up, subject_of, task


def predicted(tasks, profile, policy="cotenant", **about):
    return predict(Workload(policy=policy, tasks=tasks), profile, subject_of, **about)


@pytest.mark.parametrize("policy", ["cotenant", "sequential", "priority-queue"])
@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_one_poisson_task_is_m_d_1(policy, rho):
    [oracle] = mg1.fcfs([Stream("a", rho / 0.01, deterministic(0.01))])
    [one] = predicted([task("a", "m", rho / 0.01)], made_up({"m": 0.01}), policy).tasks
    assert isinstance(oracle, Sojourn)
    assert one.mean_s == pytest.approx(0.01 + 0.01 * rho / (2 * (1 - rho)))
    assert one.p99_s == pytest.approx(oracle.quantile_s(0.99))
    assert one.utilization == pytest.approx(rho)
    assert one.fits


def test_one_periodic_task_never_waits():
    [one] = predicted([task("a", "m", 50.0, "periodic")], made_up({"m": 0.019})).tasks
    assert (one.mean_s, one.p99_s) == (pytest.approx(0.019), pytest.approx(0.019))
    assert one.method == "D/G/1"


def test_critical_work_does_not_feel_best_effort_work():
    det = task("det", "m", 20.0, criticality="critical")
    profile = made_up({"m": 0.01, "n": 0.03})
    [alone] = predicted([det], profile).tasks
    beside = predicted([det, task("bulk", "n", None)], profile).tasks[0]
    assert beside[:8] == alone[:8]


def test_best_effort_open_task_is_preemptive_resume():
    high, low = predicted(
        [task("high", "m", 20.0, criticality="critical"), task("low", "n", 10.0)],
        made_up({"m": 0.01, "n": 0.03}),
    ).tasks
    residual_s = (20.0 * 0.01**2 + 10.0 * 0.03**2) / 2
    assert high.mean_s == pytest.approx(0.01 + 20.0 * 0.01**2 / 2 / 0.8)
    assert low.mean_s == pytest.approx(0.03 / 0.8 + residual_s / (0.8 * 0.5))


def test_equals_share_one_queue_below_the_higher_class():
    high, *equals = predicted(
        [
            task("high", "m", 20.0, criticality="critical", priority=2),
            task("a", "m", 10.0, criticality="critical"),
            task("b", "n", 10.0, criticality="critical"),
        ],
        made_up({"m": 0.01, "n": 0.03}),
    ).tasks
    waits_s = [
        one.mean_s - service_s / 0.8 for one, service_s in zip(equals, (0.01, 0.03), strict=True)
    ]
    residual_s = (20.0 * 0.01**2 + 10.0 * (0.01**2 + 0.03**2)) / 2
    assert waits_s == pytest.approx([residual_s / (0.8 * 0.4)] * 2)
    assert high.mean_s < min(one.mean_s for one in equals)


def test_closed_loop_takes_exactly_what_is_left():
    det, bulk = predicted(
        [task("det", "m", 20.0, criticality="critical"), task("bulk", "n", None)],
        made_up({"m": 0.01, "n": 0.04}),
    ).tasks
    assert bulk.throughput_rps == pytest.approx((1 - det.utilization) / 0.04)
    assert bulk.mean_s * bulk.throughput_rps == pytest.approx(1.0)  # Little, one client


def test_closed_loops_share_by_priority():
    first, second = predicted(
        [task("a", "m", None, priority=3), task("b", "m", None)], made_up({"m": 0.01})
    ).tasks
    assert first.throughput_rps == pytest.approx(3 * second.throughput_rps)


@pytest.mark.parametrize(
    ("rate_rps", "weight"), [(None, 1.0), (10.0, 0.4)], ids=["closed-loop", "open"]
)
def test_interference_counts_as_much_as_the_neighbour_runs(rate_rps, weight):
    profile = made_up({"m": 0.001, "n": 0.04}, {("m", "n"): 1.05})
    det = predicted(
        [task("det", "m", 1e-6, criticality="critical"), task("bulk", "n", rate_rps)], profile
    ).tasks[0]
    assert det.slowdown == pytest.approx(1 + 0.05 * weight, rel=1e-4)
    assert det.mean_s == pytest.approx(0.001 * det.slowdown, rel=1e-4)


def test_sharing_itself_is_not_counted_as_interference():
    profile = made_up({"m": 0.01}, {("m", "m"): 2.0})
    [one, _] = predicted([task("a", "m", 10.0), task("b", "m", 10.0)], profile).tasks
    assert one.slowdown == pytest.approx(1.0)


def test_overload_names_the_culprit_and_spares_what_is_above():
    high, low = predicted(
        [task("high", "m", 20.0, criticality="critical"), task("low", "n", 100.0)],
        made_up({"m": 0.01, "n": 0.03}),
    ).tasks
    assert high.fits
    assert (low.fits, low.culprit, low.mean_s) == (False, "low", None)
    assert 0.0 < low.dropped < 1.0


@given(
    rates=st.lists(st.floats(0.5, 30.0), min_size=3, max_size=3),
    growth=st.floats(1.01, 1.5),
    policy=st.sampled_from(["cotenant", "sequential", "priority-queue"]),
)
@settings(max_examples=25, deadline=None)
def test_more_load_is_never_better(rates, growth, policy):
    workload = Workload(
        policy=policy,
        tasks=[
            task("a", "m", rates[0], criticality="critical", slo={"latency": "30ms"}),
            task("b", "n", rates[1], criticality="critical", priority=2),
            task("c", "n", rates[2]),
        ],
    )
    profile = made_up({"m": 0.01, "n": 0.02}, {("m", "n"): 1.05})
    before = predict(workload, profile, subject_of).tasks
    after = predict(with_rates(workload, growth), profile, subject_of).tasks
    for was, now in zip(before, after, strict=True):
        assert was.mean_s is None or now.mean_s is None or now.mean_s >= was.mean_s * (1 - 1e-9)
        assert was.mean_s is not None or now.mean_s is None
        assert now.attainment is None or now.attainment <= was.attainment + 1e-6


def test_a_deadline_bounds_what_counts_as_in_time():
    about = {"slo": {"latency": "1s"}}
    [free] = predicted([task("a", "m", 60.0, **about)], made_up({"m": 0.01})).tasks
    bound = predicted([task("a", "m", 60.0, **about, deadline="15ms")], made_up({"m": 0.01})).tasks[
        0
    ]
    assert free.attainment == pytest.approx(1.0, abs=1e-6)
    assert bound.attainment == pytest.approx(1 - bound.dropped)
    assert (bound.fits, bound.binding) == (False, "deadline")


def test_capacity_of_one_server_is_where_its_slo_breaks():
    workload = Workload(tasks=[task("a", "m", 10.0, slo={"latency": "20ms", "quantile": 0.5})])
    profile = made_up({"m": 0.01})
    found = capacity(lambda factor: predict(with_rates(workload, factor), profile, subject_of))
    assert 1.0 < found.factor < 10.0
    assert found.binding == "a: SLO at p50"
    for factor, fits in ((found.factor, True), (found.factor * 1.01, False)):
        assert predict(with_rates(workload, factor), profile, subject_of).fits is fits


def test_capacity_of_what_fits_at_no_rate_is_zero():
    workload = Workload(tasks=[task("a", "m", 10.0, slo={"latency": "5ms"})])
    profile = made_up({"m": 0.01})
    found = capacity(lambda factor: predict(with_rates(workload, factor), profile, subject_of))
    assert found.factor == 0.0


def test_the_virtual_clock_answers_where_no_closed_form_holds():
    workload = Workload(
        policy="concurrent", tasks=[task("a", "m", 10.0), task("b", "m", 10.0, "periodic")]
    )
    simulated = Sojourn(0.5, 0.4, 0.2, None)
    asked = []

    def simulate(mix, profile, company):
        asked.append((mix, {one.task.name for one in company.calm}))
        return dict.fromkeys(("a", "b"), Stay(simulated, "virtual clock", True))

    profile = made_up({"m": 0.01}, policy="concurrent")
    answer = predict(workload, profile, subject_of, simulate=simulate)
    assert asked == [(workload, {"a", "b"})]
    assert {(one.method, one.mean_s) for one in answer.tasks} == {("virtual clock", 0.5)}


@pytest.mark.parametrize(
    ("tasks", "policy", "error", "says"),
    [
        ([task("a", "other", 1.0)], "cotenant", WorkloadError, "lacks task 'a'.*cotenant profile"),
        ([task("a", "m", 1.0)], "concurrent", WorkloadError, "measured under policy 'cotenant'"),
        ([task("a", "m", None)], "sequential", Unsupported, "closed-loop"),
        ([task("a", "m", 1.0).model_copy(update={"arrivals": None})], "cotenant", WorkloadError,
         "no arrivals"),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted_says_why(tasks, policy, error, says):
    with pytest.raises(error, match=says):
        predicted(tasks, made_up({"m": 0.01}), policy)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("a.arrivals.rate", "write TASK.field=value"),
        ("b.priority=2", "no task 'b'; there is a"),
        ("a.priority=0", "greater than or equal to 1"),
        ("a.slo={latency: 1s, quantile: 1}", "less than 1"),
        ("a.arrivals.rate=-1.0", "greater than 0"),
        ("a.arrivals.rate=10", "no unit"),
    ],
)
def test_a_bad_change_is_refused(assignment, says):
    with pytest.raises(WorkloadError, match=says):
        with_field(Workload(tasks=[task("a", "m", 1.0)]), assignment)


def test_changes_change_what_they_say_and_nothing_else():
    workload = Workload(tasks=[task("a", "m", 1.0), task("b", "m", 2.0)])
    assert with_field(workload, "a.arrivals.rate=1/s") == workload
    faster = with_field(workload, "a.arrivals.rate=30/s")
    assert faster == with_rates(workload, 30.0, "a")
    assert with_tasks(without(workload, "b"), workload.tasks[1:]) == workload
    with pytest.raises(WorkloadError, match="no task is left"):
        without(without(workload, "a"), "b")


def test_fifty_tasks_take_no_more_than_a_bounded_number_of_inversions(monkeypatch):
    """Cost is counted, not timed: the tails of fifty tasks need so many transforms at most."""
    calls = []
    tail = inversion.tail
    monkeypatch.setattr(inversion, "tail", lambda form, at: calls.append(at.size) or tail(form, at))
    tasks = [task(f"t{n}", "m", 0.5, criticality=c, slo={"latency": "1s"})
             for n in range(50) for c in [("critical", "best-effort")[n % 2]]]  # fmt: skip
    answer = predicted(tasks, made_up({"m": 0.01}))
    assert len(answer.tasks) == 50
    assert sum(calls) < 50 * 400


def test_shared_rest_has_one_mean_however_many_share_it():
    """Two tasks are computed exactly, twenty by two moments: the mean of sharing is the same."""
    profile = made_up({"m": 0.01}, {("m", "m"): 2.0})
    for count in (2, 20):
        tasks = [task(f"t{n}", "m", 50.0 / count) for n in range(count)]
        for one in predicted(tasks, profile).tasks:
            assert one.mean_s == pytest.approx(0.01 / (1 - 0.5))
            assert one.p50_s < one.p95_s < one.p99_s


def test_a_closed_loop_beside_open_best_effort_work_gets_the_rest():
    still, loop = predicted(
        [task("open", "m", 20.0), task("loop", "m", None)],
        made_up({"m": 0.01}, {("m", "m"): 2.0}),
    ).tasks
    assert loop.throughput_rps == pytest.approx((1 - 0.2) / 0.01)
    assert still.mean_s >= 0.02  # it always has company


def test_without_preemption_critical_work_waits_for_what_has_started():
    tasks = [task("det", "m", 10.0, criticality="critical"), task("bulk", "n", None)]
    times = {"m": 0.01, "n": 0.04}
    profile = made_up(times, {("m", "n"): 1.0})
    det = predicted(tasks, profile).tasks[0]
    gated, loop = predicted(tasks, profile.model_copy(update={"preemptive": False})).tasks
    work_s = (10.0 * 0.01**2 + 0.9 / 0.04 * 0.04**2) / 2
    assert gated.mean_s == pytest.approx(0.01 + work_s / (1 - 0.1))
    assert gated.mean_s > det.mean_s
    assert loop.throughput_rps == pytest.approx(0.9 / 0.04)


@given(st.floats(1.0, 80.0), st.floats(0.3, 0.99))
def test_a_machine_that_is_kept_awake_serves_faster(rate_rps, warm):
    cold = made_up({"m": 0.01})
    known = cold.alone[0].model_copy(update={"warm": warm, "front_s": 0.002, "warm_front_s": 0.001})
    [one] = predicted([task("a", "m", rate_rps, "periodic")], made_up({}, alone=[known])).tasks
    seldom, often = 0.012, 0.01 * warm + 0.001
    assert often * 0.999 <= one.mean_s <= 1.02 * seldom
    load = rate_rps * 0.01 * warm
    if load > 0.6:  # it hardly ever rests
        assert one.mean_s < often + 0.4 * (seldom - often)
    if rate_rps < 2.0:
        assert one.mean_s > seldom - 0.1 * (seldom - often)


def test_company_keeps_the_front_of_a_seldom_asked_task_awake():
    tasks = [task("a", "m", 1.0, criticality="critical")]
    company = task("b", "n", 60.0)
    m, n = made_up({"m": 0.01, "n": 0.01}).alone
    m = m.model_copy(update={"front_s": 0.002, "warm_front_s": 0.001, "late_s": 0.0004})
    profile = made_up({}, alone=[m, n])
    rested = predicted(tasks, profile).tasks[0]
    beside = predicted([*tasks, company], profile).tasks[0]
    assert rested.mean_s == pytest.approx(0.012, rel=0.01)
    # Its company is as busy as its own clients were when they did not wait for each other.
    assert beside.mean_s == pytest.approx(0.0114, rel=0.005)


def with_front(profile, front_s, busy_s):
    update = {"front_s": front_s, "front_busy_s": busy_s}
    return made_up({}, alone=[one.model_copy(update=update) for one in profile.alone])


@pytest.mark.parametrize("busy_s", [0.0, 0.002, 0.008])
def test_requests_are_read_during_services_and_answered_before_the_next_one(busy_s):
    profile = with_front(made_up({"m": 0.01}), 0.003, busy_s)
    [one] = predicted([task("a", "m", 30.0)], profile).tasks
    # No more of the front holds the cores than a client waits for it.
    answer_s = min(0.003, busy_s / 2)
    held_s = 0.01 / (1 - 30.0 * busy_s / 2) + answer_s
    waiting_s = 30.0 * held_s**2 / 2 / (1 - 30.0 * held_s)
    assert one.mean_s == pytest.approx(waiting_s + held_s + 0.003 - answer_s)
    [clocked] = predicted(
        [task("a", "m", 30.0)], profile, simulate=VirtualClock(), always=True
    ).tasks
    assert clocked.mean_s == pytest.approx(one.mean_s, rel=0.03)


def test_periodic_requests_of_its_own_never_come_during_a_service():
    profile = with_front(made_up({"m": 0.01}), 0.003, 0.002)
    [one] = predicted([task("a", "m", 50.0, "periodic")], profile).tasks
    assert one.mean_s == pytest.approx(0.013)


def test_the_front_of_critical_work_takes_from_best_effort_work():
    profile = with_front(made_up({"m": 0.01, "n": 0.03}), 0.002, 0.002)
    tasks = [task("high", "m", 20.0, criticality="critical"), task("low", "n", 10.0)]
    low = predicted(tasks, profile).tasks[1]
    high_s, low_s = (one_s / (1 - 30.0 * 0.001) + 0.001 for one_s in (0.01, 0.03))
    left = 1 - 20.0 * high_s
    residual_s = (20.0 * high_s**2 + 10.0 * low_s**2) / 2
    waiting_s = residual_s / (left * (left - 10.0 * low_s))
    assert low.mean_s == pytest.approx(waiting_s + low_s / left + 0.001)
