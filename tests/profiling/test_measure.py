"""The measurement on tiny models: every figure is there, and says what it should about others."""

import asyncio

import numpy as np
import pytest

from cotenant.core.errors import ModelError, WorkloadError
from cotenant.core.model import Signature, TensorSpec
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.profiling.inputs import batches, draw_inputs
from cotenant.profiling.measure import Effort, measure
from cotenant.profiling.subject import subject_of
from cotenant.profiling.variations import variations
from tests.models import scale_model, slow_model

THOROUGH = Effort(requests=3, rounds=3, tight=0.0, alone=0)


def measured(workload, effort=THOROUGH, progress=lambda seen: None, forms=()):
    rng = np.random.default_rng(0)
    return asyncio.run(measure(workload, effort, rng, progress, forms))


@pytest.fixture
def workload(tmp_path):
    fast = {"kind": "periodic", "rate": "200/s"}
    return Workload(
        tasks=(
            Task(name="det", model=str(scale_model(tmp_path)), criticality="critical",
                 arrivals=fast),
            Task(name="bulk", model=str(slow_model(tmp_path, 64, 2)), batch={"max_size": 4}),
        )
    )  # fmt: skip


def test_every_task_is_measured_alone_and_every_pair_both_ways(workload):
    seen = []
    profile = measured(workload, progress=seen.append)
    det, bulk = (subject_of(task, workload) for task in workload.tasks)
    assert {(one.subject, one.batch) for one in profile.alone} == {(det, 1), (bulk, 1), (bulk, 4)}
    assert {(one.subject, one.other) for one in profile.beside} == {(det, bulk), (bulk, det)}
    assert all(one.service.n == 9 for one in profile.alone if one.subject == det)
    assert all(one.memory_bytes > 1 << 20 and one.load_s > 0.0 for one in profile.alone)
    assert all(one.in_turns is not None for one in profile.alone if one.batch == 1)
    # Three rounds of six settings, one of them back to back and one in turns: the bar starts at 0,
    # never goes back, and ends full.
    done = [one.done for one in seen]
    assert done == sorted(done) == list(range(19))
    assert {one.total for one in seen} == {18}


def test_a_task_that_may_rest_is_measured_after_pauses_of_four_lengths(tmp_path):
    calm = Task(name="calm", model=str(scale_model(tmp_path)), criticality="critical")
    seen = []
    [one] = measured(Workload(tasks=(calm,)), progress=lambda now: seen.append(now.doing)).alone
    assert one.rested is not None
    assert one.rested > 0.0
    assert one.warm > 0.0
    assert [name.partition(", ")[2] for name in seen[:4]] == [
        "", "back to back", "after 12 ms", "after 200 ms"
    ]  # fmt: skip


def test_settings_that_are_tight_enough_are_visited_no_more(workload):
    seen = []
    alone = workload.model_copy(update={"tasks": workload.tasks[:1]})
    profile = measured(alone, Effort(requests=2, rounds=50, tight=10.0, alone=0), seen.append)
    assert profile.alone[0].service.n == 2 * 3  # an interval needs three rounds
    assert (seen[-1].done, seen[-1].total) == (6, 6)  # with pauses, and back to back


def test_a_task_alone_is_asked_until_its_tail_is_known(workload):
    seen = []
    alone = workload.model_copy(update={"tasks": workload.tasks[:1]})
    often = measured(alone, Effort(requests=2, rounds=50, tight=10.0, alone=12), seen.append)
    assert often.alone[0].service.n == 2 * 6
    assert seen[-1].done == 6 + 3  # back to back it is done as soon as its mean is known
    long = measured(alone, Effort(requests=2, rounds=4, tight=10.0, alone=40))
    assert long.alone[0].service.n == 10 * 4


def test_a_task_is_measured_in_other_forms_and_each_segment_of_it(workload):
    bulk = workload.model_copy(update={"tasks": workload.tasks[1:]})
    forms = variations(bulk, (1,), (1, 2))
    profile = measured(bulk, forms=forms)
    found = {(one.subject.width, one.subject.segments, one.batch): one for one in profile.alone}
    own = subject_of(bulk.tasks[0], bulk)
    assert set(found) == {
        (width, segments, batch)
        for width, segments in {(own.width, 1), (1, 1), (1, 2)}
        for batch in (1, 4)
    }
    assert all(one.by_segment == () for key, one in found.items() if key[1] == 1)
    for batch in (1, 4):
        whole = found[1, 2, batch]
        assert [one.n for one in whole.by_segment] == [whole.service.n] * 2
        # Between two segments the lane is asked anew, so the whole takes longer than its parts.
        assert 0.0 < sum(one.mean_s for one in whole.by_segment) < 1.5 * whole.service.mean_s
    assert profile.beside == ()


def test_forms_that_are_there_already_are_not_measured_twice(workload):
    assert variations(workload, (), ()) == ()
    assert variations(workload, (), (1,)) == ()
    both = variations(workload, (), (1, 3, 3))
    assert [(one.name, one.segments) for one in both] == [
        ("det@segments=3", 3), ("bulk@segments=3", 3),
    ]  # fmt: skip
    with pytest.raises(WorkloadError, match="'det' cannot run with width 4096: its component has"):
        variations(workload, (1, 4096), ())


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        measured(Workload(tasks=[Task(name="a", model=str(tmp_path / "broken.onnx"))]))


def test_free_axes_get_lengths_and_every_type_gets_values():
    specs = [
        TensorSpec("image", "float32", (None, 3, None, None)),
        TensorSpec("ids", "int64", (None, None)),
        TensorSpec("mask", "bool", (2,)),
        TensorSpec("text", "object", (None,)),
    ]
    drawn = draw_inputs(Signature(tuple(specs), ()), 5, np.random.default_rng(0))
    assert [one.shape for one in drawn.values()] == [(5, 3, 224, 224), (5, 16), (2,), (5,)]
    assert [str(one.dtype) for one in drawn.values()] == ["float32", "int64", "bool", "object"]
    assert not batches(Signature(tuple(specs), ()))
    assert batches(Signature(tuple(specs[:2]), ()))
