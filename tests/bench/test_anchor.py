"""A profile at another speed of the machine, from looks made by hand."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.bench.anchor import Looks, Speed, anchored, speed_of
from cotenant.bench.apart import Took
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.prediction.waking import Paces, after
from cotenant.profiling.profile import Profile, service_time
from tests.prediction.made_up import made_up, subject_of

SLOWER = st.floats(0.3, 3.0)
WORKLOAD = Workload(name="w", tasks=(Task(name="t", model="a"),))
PARTS = (service_time([0.004, 0.006]), service_time([0.005]))
SPLIT = Workload(name="w", tasks=(Task(name="t", model="b", segments=2),))


def profile(**about):
    made = made_up(
        {"a": service_time([0.01, 0.02, 0.03]), "b": service_time([0.009, 0.011])},
        by_segment={"b": PARTS},
    )
    alone = tuple(one.model_copy(update=about) for one in made.alone)
    return made.model_copy(update={"alone": alone})


@given(st.builds(Speed, *[SLOWER] * 9))
def test_each_pace_takes_so_many_times_what_it_took(speed):
    before = profile(
        front_s=0.002,
        warm_front_s=0.001,
        late_s=0.0005,
        front_busy_s=0.0006,
        warm=0.8,
        in_turns=0.9,
        rested=1.2,
    )
    after = anchored(before, WORKLOAD, subject_of, {"t": speed})
    calm, rested, warm, after_another, openly, front, warm_front, open_front, front_busy = speed
    was, now = before.alone[0], after.alone[0]
    assert now.service.mean_s == pytest.approx(was.service.mean_s * calm * openly)
    assert now.warm * now.service.mean_s == pytest.approx(0.8 * was.service.mean_s * warm * openly)
    assert now.in_turns * now.service.mean_s == pytest.approx(
        0.9 * was.service.mean_s * after_another * openly
    )
    assert now.rested * now.service.mean_s == pytest.approx(
        1.2 * was.service.mean_s * rested * openly
    )
    assert now.around_s == pytest.approx(0.002 * front)
    assert now.warm_around_s == pytest.approx(min(0.002 * front, 0.001 * warm_front))
    assert now.open_around_s == pytest.approx(max(0.0015 * open_front, now.warm_around_s))
    assert now.front_busy_s == pytest.approx(0.0006 * front_busy)
    # The law keeps its shape, and is still one that a profile may hold.
    assert now.service.second_moment_s2 / now.service.mean_s**2 == pytest.approx(
        was.service.second_moment_s2 / was.service.mean_s**2
    )
    assert Profile.model_validate(after.model_dump()) == after


@given(SLOWER, st.floats(0.001, 1.0), st.floats(0.5, 1.0))
def test_in_a_short_round_a_task_is_expected_to_find_some_of_its_own(machine, others_s, warm):
    cooling_s, front_s = 0.026, 0.001
    [was, _] = profile(warm=warm, in_turns=1.0, rested=1.1, front_s=front_s).alone
    in_turns = after(Paces.of(was), others_s + front_s, front_s, cooling_s)
    took = Took(
        front_s=front_s,
        service=service_time([0.01 * machine, 0.03 * machine]),
        warm_front_s=front_s,
        front_busy_s=0.0005,
        warm=warm,
        in_turns=in_turns,
        openly=1.0,
        rested=1.1,
        brief=None,
    )
    round_s = in_turns * took.service.mean_s + others_s + front_s
    found = speed_of(took, was, 0.0, round_s, cooling_s)
    assert [found.calm, found.warm, found.rested] == pytest.approx([machine] * 3)
    assert found.after_another == pytest.approx(machine)


def test_segments_go_with_their_whole_and_other_models_stay():
    before = profile()
    after = anchored(before, SPLIT, subject_of, {"t": Speed(*[2.0] * 4, *[1.0] * 5)})
    assert after.alone[0] == before.alone[0]
    assert [one.mean_s for one in after.alone[1].by_segment] == pytest.approx(
        [2.0 * one.mean_s for one in PARTS]
    )


def test_a_profile_without_a_front_gets_one_from_what_it_has():
    after = anchored(profile(overhead_s=0.002), WORKLOAD, subject_of, {"t": Speed(*[1.5] * 9)})
    assert after.alone[0].front_s == pytest.approx(0.003)
    assert after.alone[0].front_busy_s is None


MODELS = {"a": 0.8, "b": 1.0, "c": 1.25}
"""What each takes over what the profile says, on the machine as it was profiled."""
ALL = Workload(name="w", tasks=tuple(Task(name=f"of-{model}", model=model) for model in MODELS))


def look(machine, rests=1.0, front=1.0, **moment):
    return {
        f"of-{model}": Speed(
            *(machine * off * moment.get(model, 1.0), rests * machine * off, *[machine * off] * 3),
            *[front * machine * off] * 4,
        )
        for model, off in MODELS.items()
    }


def expected(machines, then=()):
    looks = Looks()
    for machine in machines:
        looks.add(ALL, subject_of, look(machine))
    for last in then:
        looks.add(ALL, subject_of, last)
    return looks.expected(ALL, subject_of)


@given(st.lists(SLOWER, min_size=1, max_size=9))
def test_what_is_wrong_with_the_profile_and_a_machine_that_changes_are_told_apart(machines):
    found = expected(machines)
    logarithms = [math.log(one) for one in machines]
    middle = statistics.median(logarithms[-5:])
    weights = [math.exp(-age / 5) for age in reversed(range(len(machines)))]

    def of_late(noise):
        return sum(
            weight * min(max(one, middle - noise), middle + noise)
            for weight, one in zip(weights, logarithms, strict=True)
        ) / (sum(weights) + 0.25)

    known = len(machines) / (len(machines) + 0.5)
    of_paces = [math.exp(of_late(noise)) for noise in (*[0.15] * 5, *[0.45] * 4)]
    for model, off in MODELS.items():
        assert found[f"of-{model}"] == pytest.approx([one * off**known for one in of_paces])


def test_a_moment_at_which_the_machine_lacked_a_core_moves_no_forecast_far():
    usual = expected([1.0] * 40)
    for task, speed in expected([1.0] * 39 + [2.2]).items():
        assert speed.calm == pytest.approx(usual[task].calm, rel=0.03)


def test_a_machine_that_is_slow_half_of_the_time_is_forecast_in_between():
    fast, slow, both = (
        expected(one)["of-b"].calm for one in ([1.0] * 40, [1.1] * 40, [1.0, 1.1] * 20)
    )
    assert both == pytest.approx(math.sqrt(fast * slow), rel=0.01)


def test_a_machine_that_is_slow_after_rests_alone_is_forecast_so():
    slept = expected([1.0] * 40, [look(1.0, rests=1.1)] * 60)["of-b"]
    assert slept.rested == pytest.approx(1.1, rel=0.02)
    assert slept.warm == pytest.approx(1.0, rel=0.001)


@pytest.mark.parametrize("now", [0.7, 1.05, 1.5])
def test_a_machine_that_has_changed_is_soon_forecast_as_it_is_now(now):
    before, after = (expected([one] * 60)["of-b"].calm for one in (1.0, now))
    changed = expected([1.0] * 60 + [now] * 10)["of-b"].calm
    assert (changed - before) / (after - before) > 0.75


def test_a_front_that_has_changed_says_nothing_of_services():
    found = expected([1.0] * 40, [look(1.0, front=3.0)] * 10)["of-b"]
    assert found.front > 2.0
    assert found.calm == pytest.approx(1.0, rel=0.001)


def test_a_moment_that_one_model_met_moves_no_forecast():
    usual = expected([1.1] * 6)
    for task, speed in expected([1.1] * 5, [look(1.1, a=1.9)]).items():
        assert tuple(speed) == pytest.approx(tuple(usual[task]), rel=0.05)


@pytest.mark.parametrize("criticality", ["critical", "best-effort"])
def test_the_same_model_under_another_name_is_the_same(criticality):
    again = Workload(name="v", tasks=(Task(name="other", model="a", criticality=criticality),))
    looks = Looks()
    looks.add(ALL, subject_of, look(1.2))
    looks.add(again, subject_of, {"other": look(1.2)["of-a"]})
    assert looks.expected(again, subject_of)["other"].calm < 1.1
