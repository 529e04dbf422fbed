"""The coordinator over the null device: properties that must hold whatever arrives."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotenant.core.hardware import Capability
from cotenant.core.record import Outcome
from cotenant.core.task import Batch, OnFull, Queue, Slo, Task
from cotenant.policy import POLICIES
from tests.runtime.world import World

SERVICE_S = {"det": 0.010, "asr": 0.020, "ocr": 0.050, "tag": 0.080}


def service(task: str, rows: int, segment: int) -> float:
    return SERVICE_S[task] * (0.5 + 0.5 * rows)


def tasks(**changes: object) -> list[Task]:
    common = {"model": "zoo:none", **changes}
    return [
        Task(name="det", criticality="critical", priority=2, **common),
        Task(name="asr", criticality="critical", priority=1, **common),
        Task(name="ocr", priority=1, **common),
        Task(name="tag", priority=3, **common),
    ]


arrival = st.tuples(
    st.floats(0, 1.0),
    st.sampled_from(sorted(SERVICE_S)),
    st.fixed_dictionaries(
        {
            "timeout_s": st.none() | st.floats(0.001, 0.2),
            "deadline_s": st.none() | st.floats(0.001, 0.3),
        }
    ),
)
worlds = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(sorted(POLICIES)),
        "capability": st.sampled_from([Capability.GATED, Capability.PREEMPTIVE]),
    }
)


@settings(max_examples=150, deadline=None)
@given(worlds, st.lists(arrival, max_size=60), st.sampled_from(list(OnFull)), st.integers(1, 4))
def test_every_request_is_answered_exactly_once(world, arrivals, on_full, segments):
    world = World(
        tasks(queue=Queue(max_size=4, on_full=on_full), segments=segments), service, **world
    )
    world.run(arrivals)
    assert Counter(a.request.id for a in world.answers) == Counter(r.id for r in world.submitted)
    for answer in world.answers:
        assert (answer.error is None) == (answer.record.outcome is Outcome.OK)
        assert (answer.outputs is None) == (answer.error is not None)
        if answer.error is None:
            assert len(answer.record.segments) == segments


@settings(max_examples=100, deadline=None)
@given(worlds, st.lists(arrival, max_size=60))
def test_a_task_answers_in_the_order_of_arrival(world, arrivals):
    world = World(tasks(), service, **world)
    world.run(arrivals)
    for task in SERVICE_S:
        served = [a.request.id for a in world.answers if a.request.task == task and not a.error]
        assert served == sorted(served)


@settings(max_examples=100, deadline=None)
@given(worlds, st.lists(arrival, max_size=60))
def test_times_out_on_time_and_never_starts_late(world, arrivals):
    world = World(tasks(), service, **world)
    world.run(arrivals)
    for answer in world.answers:
        request, record = answer.request, answer.record
        if record.outcome is Outcome.TIMED_OUT:
            assert record.end_s == pytest.approx(request.expires_s)
        if record.start_s is not None and request.expires_s is not None:
            assert record.start_s <= request.expires_s
        if record.outcome is Outcome.HOPELESS:
            assert record.start_s is None


@settings(max_examples=100, deadline=None)
@given(st.lists(arrival, max_size=60), st.integers(1, 8))
def test_critical_waits_for_best_effort_no_longer_than_the_stated_bound(arrivals, segments):
    """Preemptive: not at all. Gated: the rest of one best-effort segment, whatever its floor."""
    for capability in (Capability.PREEMPTIVE, Capability.GATED):
        beside = World(tasks(segments=segments), service, capability=capability)
        beside.run([(t, task, {}) for t, task, _ in arrivals])
        bound_s = 0.0 if capability is Capability.PREEMPTIVE else max(SERVICE_S.values())
        top = sorted(
            (a.record for a in beside.answers if a.request.task == "det"),
            key=lambda record: record.arrival_s,
        )
        free_s = 0.0
        for record in top:
            # With a gated device the less important critical task is in the way, too.
            others_s = 0.0 if capability is Capability.PREEMPTIVE else segments * 0.020
            begin_s = max(record.arrival_s, free_s)
            longest_s = (1 if capability is Capability.PREEMPTIVE else segments) * (
                bound_s + others_s
            )
            assert record.start_s is not None
            assert record.start_s - begin_s <= bound_s + others_s + 1e-9
            assert record.end_s - record.start_s <= segments * 0.010 + longest_s + 1e-9
            free_s = record.end_s


def test_best_effort_gets_its_floor_on_a_gated_device_under_critical_overload():
    overload = [(0.005 * k, "det", {}) for k in range(1000)]
    world = World(tasks(queue=Queue(max_size=2000)), service, capability=Capability.GATED)
    world.run([*overload, *[(0.0, "ocr", {}) for _ in range(20)]])
    during_s = [a.record.end_s for a in world.answers if a.request.task == "ocr"]
    assert sum(end_s <= 5.0 for end_s in during_s) >= 4


@pytest.mark.parametrize(("ocr", "tag"), [(1, 1), (1, 3), (2, 1)])
def test_best_effort_tasks_divide_what_is_left_by_priority(ocr, tag):
    """Two clients that each keep one request waiting; consumed time follows the shares."""
    pair = [
        Task(name="ocr", model="m", priority=ocr, queue=Queue(max_size=5000)),
        Task(name="tag", model="m", priority=tag, queue=Queue(max_size=5000)),
    ]
    world = World(pair, service)
    world.run([(0.0, name, {}) for name in ("ocr", "tag") for _ in range(400)])
    end_s = min(
        max(a.record.end_s for a in world.answers if a.request.task == name)
        for name in ("ocr", "tag")
    )
    got = {
        name: sum(
            SERVICE_S[name]
            for a in world.answers
            if a.request.task == name and a.record.end_s <= end_s
        )
        for name in ("ocr", "tag")
    }
    assert got["tag"] / got["ocr"] == pytest.approx(tag / ocr, rel=0.1)


def test_work_that_was_done_while_nobody_waited_is_not_held_against_a_task():
    pair = [Task(name="ocr", model="m"), Task(name="tag", model="m")]
    world = World(pair, service)
    # Alone for a second, then both at once: side by side, as if nothing had been.
    before = [(SERVICE_S["ocr"] * 1.1 * k, "ocr", {}) for k in range(int(1.0 / SERVICE_S["ocr"]))]
    world.run([*before, (3.0, "tag", {}), (3.001, "ocr", {}), (3.002, "tag", {})])
    last = [a.record for a in world.answers if a.request.task == "ocr"][-1]
    assert last.arrival_s == pytest.approx(3.001)
    assert last.start_s == pytest.approx(last.arrival_s)


def test_a_batch_never_grows_past_the_slo():
    batching = Task(
        name="ocr",
        model="m",
        slo=Slo(latency_s=0.2),
        batch=Batch(max_size=16, max_delay_s=0.05),
        queue=Queue(max_size=500),
    )
    world = World([batching], service)
    world.run([(0.004 * k, "ocr", {}) for k in range(300)])
    sizes = [a.record.batch for a in world.answers]
    assert max(sizes) > 1
    for answer in world.answers:
        record = answer.record
        if record.batch > 1:
            assert record.end_s - record.arrival_s <= 0.2 + 1e-9


def test_a_level_goes_before_the_levels_behind_it():
    leveled = Task(
        name="ocr", model="m", queue=Queue(priority_levels=3, default_level=2, max_size=50)
    )
    world = World([leveled], service)
    first = [(0.0, "ocr", {"level": 3}), (0.001, "ocr", {"level": 3})]
    world.run([*first, (0.002, "ocr", {}), (0.003, "ocr", {"level": 1})])
    assert [a.request.level for a in world.answers] == [3, 1, 0, 3]


def test_it_is_pressed_while_critical_work_fills_a_component():
    """Best-effort work alone, or critical work that leaves cores free, does not press."""
    narrow = Task(name="narrow", model="m", criticality="critical", width=1)
    wide = Task(name="wide", model="m", criticality="critical")
    other = Task(name="other", model="m")
    for task, pressed in ((narrow, False), (wide, True), (other, False)):
        world = World([narrow, wide, other], lambda *_: 0.01)
        coordinator = world.coordinator
        coordinator.submit(coordinator.request(task.name))
        assert not coordinator.pressed
        coordinator.step()
        assert coordinator.pressed is pressed
        world.run([])
        assert not coordinator.pressed
