"""A profile at another speed of the machine, from looks made by hand."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.bench.anchor import Looks, Speed, anchored
from cotenant.core.task import Task
from cotenant.core.workload import Workload
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


@given(SLOWER, SLOWER)
def test_both_paces_take_so_many_times_what_they_took(calm, warm):
    before = profile(front_s=0.002, warm_front_s=0.001, warm=0.8)
    after = anchored(before, WORKLOAD, subject_of, {"t": Speed(calm, warm)})
    was, now = before.alone[0], after.alone[0]
    for awake, factor in ((0.0, calm), (1.0, warm)):
        service = was.service.mean_s * (1.0 - awake * (1.0 - was.warm))
        assert now.service.mean_s * (1.0 - awake * (1.0 - now.warm)) == pytest.approx(
            service * factor
        )
    assert now.around_s == pytest.approx(was.around_s * calm)
    assert now.warm_around_s == pytest.approx(min(was.around_s * calm, was.warm_around_s * warm))
    # The law keeps its shape, and is still one that a profile may hold.
    assert now.service.second_moment_s2 / now.service.mean_s**2 == pytest.approx(
        was.service.second_moment_s2 / was.service.mean_s**2
    )
    assert Profile.model_validate(after.model_dump()) == after


def test_segments_go_with_their_whole_and_other_models_stay():
    before = profile()
    after = anchored(before, SPLIT, subject_of, {"t": Speed(2.0, 2.0)})
    assert after.alone[0] == before.alone[0]
    assert [one.mean_s for one in after.alone[1].by_segment] == pytest.approx(
        [2.0 * one.mean_s for one in PARTS]
    )


def test_a_profile_without_a_front_gets_none():
    after = anchored(profile(), WORKLOAD, subject_of, {"t": Speed(1.5, 1.5)})
    assert after.alone[0].front_s is None
    assert after.alone[0].warm_front_s is None


TWICE = Workload(name="u", tasks=(Task(name="u", model="a"), Task(name="v", model="b")))


@given(st.lists(st.builds(Speed, SLOWER, SLOWER), min_size=1, max_size=9), SLOWER)
def test_a_model_is_taken_for_the_median_of_what_all_mixes_saw_of_it(seen, other):
    looks = Looks()
    for speed in seen:  # under another name in each mix
        looks.add(WORKLOAD, subject_of, {"t": speed})
    calm, warm = zip(*seen, strict=True)
    assert looks.typical(WORKLOAD, subject_of)["t"] == (
        pytest.approx(statistics.median(calm)),
        pytest.approx(statistics.median(warm)),
    )
    looks.add(TWICE, subject_of, {"u": seen[0], "v": Speed(other, 1.0)})
    typical = looks.typical(TWICE, subject_of)
    assert typical["v"] == (other, 1.0)  # the only look at that model
    assert typical["u"] == looks.typical(WORKLOAD, subject_of)["t"]


def test_a_moment_in_which_the_machine_was_slow_moves_no_forecast():
    looks = Looks()
    for slower in (0.9, 0.9, 1.8, 0.9):
        looks.add(WORKLOAD, subject_of, {"t": Speed(slower, slower)})
    assert looks.typical(WORKLOAD, subject_of)["t"] == (0.9, 0.9)
