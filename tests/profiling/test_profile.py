"""Profiles: the way to a file and back, and every reason to refuse one."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.errors import WorkloadError
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.prediction.tenancy import service_law
from cotenant.profiling.estimate import median_of_means, pooled, relative_error
from cotenant.profiling.file import load_profile, origin, save_profile
from cotenant.profiling.profile import Origin, service_time
from cotenant.profiling.subject import subject_of
from tests.models import scale_model
from tests.prediction.made_up import fixed, made_up

HERE = Origin({"cores": 2}, {"cotenant": "0"})
TIMES = st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=60)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "profile.json"
    save_profile(made_up({"m": 0.01}, {("m", "m"): 1.5}), path)
    return path


def edited(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_a_profile_comes_back_as_it_went(path, tmp_path):
    assert load_profile(path, HERE) == made_up({"m": 0.01}, {("m", "m"): 1.5})
    assert [one.name for one in tmp_path.iterdir()] == ["profile.json"]


def test_segments_come_back_and_make_the_whole(tmp_path):
    parts = [fixed(0.002), fixed(0.007)]
    made = made_up({"m": 0.01}, by_segment={"m": parts})
    save_profile(made, tmp_path / "profile.json")
    back = load_profile(tmp_path / "profile.json", HERE)
    assert back == made
    assert (back.version, back.alone[0].by_segment) == (2, tuple(parts))


def test_a_profile_of_version_1_is_still_read(path):
    def older(content):
        content["version"] = 1
        del content["alone"][0]["by_segment"]

    edited(path, older)
    assert load_profile(path, HERE).alone == made_up({"m": 0.01}).alone


@pytest.mark.parametrize(
    ("here", "says"),
    [
        (HERE._replace(machine={"cores": 4}), "cores was 2 and is 4"),
        (HERE._replace(machine={"cores": 2, "processor": "x"}), "processor was None and is 'x'"),
        (HERE._replace(versions={"cotenant": "1"}), "cotenant was '0' and is '1'"),
    ],
)
def test_another_machine_or_version_is_refused_unless_accepted(path, here, says):
    with pytest.raises(WorkloadError, match=f"{says}; run .*--any-machine"):
        load_profile(path, here)
    assert load_profile(path, None).machine == {"cores": 2}


def test_the_kernels_own_memory_does_not_make_another_machine(tmp_path):
    machine = dict(origin().machine)
    path = tmp_path / "profile.json"
    versions = dict(origin().versions)
    save_profile(made_up({"m": 0.01}, machine=machine, versions=versions), path)
    later = {**machine, "memory_bytes": int(machine["memory_bytes"] * 0.999)}
    assert load_profile(path, Origin(later, versions))
    with pytest.raises(WorkloadError, match="memory_bytes"):
        load_profile(path, Origin({**machine, "memory_bytes": 10**12}, versions))


def _service(**changes):
    return lambda content: content["alone"][0]["service"].update(changes)


def _segments(*parts):
    plain = [one if isinstance(one, dict) else one.model_dump() for one in parts]

    def edit(content):
        content["alone"][0]["subject"]["segments"] = 2
        content["alone"][0]["by_segment"] = plain

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (_service(second_moment_s2=1e-5), "second_moment_s2 1e-05 is under the square"),
        (_service(mean_s=-0.01), "mean_s: .*greater than 0"),
        (_service(mean_s=float("nan")), "mean_s"),
        (_service(mean_s=0.001), "outside of quantiles_s"),
        (_service(quantiles_s=[0.01] * 15 + [0.009]), "do not decrease"),
        (_service(quantiles_s=[0.01] * 3), "quantiles_s"),
        (lambda content: content.update(version=3), "version 3; .* reads versions 1 and 2"),
        (_segments(fixed(0.01)), "alone.0: by_segment has 1 entries for a model in 2 segments"),
        (_segments(*[fixed(0.01)] * 2), "by_segment add up to 0.02 s, .* more than the 0.01 s"),
        (_segments({"n": 1}, fixed(0.001)), r"alone.0.by_segment.0.mean_s: Field required"),
        (lambda content: content["beside"][0].update(busy=1.5), "beside.0.busy"),
        (lambda content: content["beside"][0].update(slowdown=0), "beside.0.slowdown"),
        (lambda content: content.update(alone=[]), "alone"),
        (lambda content: content.update(typo=1), "typo"),
        (lambda content: content["alone"][0].pop("service"), "alone.0.service: Field required"),
    ],
)
def test_nonsense_is_refused_with_place_and_remedy(path, edit, says):
    edited(path, edit)
    with pytest.raises(WorkloadError, match=rf"{says}(.|\n)*run 'cotenant profile' again"):
        load_profile(path, HERE)


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_what_is_no_profile_is_refused(path, text):
    path.write_text(text)
    with pytest.raises(WorkloadError, match="cotenant profile"):
        load_profile(path, HERE)
    with pytest.raises(WorkloadError, match="make one with 'cotenant profile'"):
        load_profile(path.with_name("absent"), HERE)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(WorkloadError, match="choose another place"):
        save_profile(made_up({"m": 0.01}), tmp_path / "no" / "profile.json")


@given(TIMES)
def test_every_measured_sample_makes_a_possible_service_time(samples_s):
    summary = service_time(samples_s)
    law = service_law(summary)
    assert law.mean_s == summary.mean_s
    assert law.law.mean_s == pytest.approx(summary.mean_s)
    assert law.quantile_s(0.5) <= law.quantile_s(0.99) * (1 + 1e-6)


@given(st.lists(TIMES, min_size=1, max_size=7))
def test_pooling_keeps_the_median_of_means_and_every_sample(rounds):
    arrays = [np.array(one) for one in rounds]
    together = pooled(arrays)
    assert together.size == sum(map(len, rounds))
    assert together.mean() == pytest.approx(median_of_means(arrays))


def test_one_disturbed_round_moves_nothing():
    calm = [np.full(5, 0.01) for _ in range(6)]
    assert median_of_means([*calm, np.full(5, 1.0)]) == 0.01


def test_the_interval_is_wide_until_rounds_agree():
    rng = np.random.default_rng(1)
    assert relative_error([np.ones(9)] * 2, rng) == float("inf")
    assert relative_error([np.ones(9)] * 3, rng) == 0.0
    assert relative_error([np.full(9, x) for x in (1.0, 2.0, 3.0)], rng) > 0.2


def test_a_model_is_known_by_its_graph_not_by_its_name_or_weights(tmp_path):
    def hashed(**about):
        task = Task(name="a", model=str(scale_model(tmp_path, **about)), width=1)
        return subject_of(task, Workload(tasks=[task]))

    assert hashed(name="one") != hashed(name="two", factor=3.0)  # a small constant is the graph
    same = hashed(name="one")
    (tmp_path / "one.onnx").rename(tmp_path / "three.onnx")
    moved = Task(name="b", model=str(tmp_path / "three.onnx"), width=1)
    assert subject_of(moved, Workload(tasks=[moved])) == same
