"""What launches in flight together cost each other on the null device, worked out by hand."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cotenant.core.clock import VirtualClock
from cotenant.core.hardware import Capability, Component
from cotenant.core.request import Request
from cotenant.core.task import Criticality, Task
from cotenant.device.base import Allowance, Completed
from cotenant.device.null import Interference, NullDevice

CPU = Component("cpu", "null", (0, 1), Capability.PREEMPTIVE)
FACTORS = st.floats(0.6, 3.0)


def ends_s(kinds, factors, allowance=None, *, works_s=None, respite_s=0.0):
    """Launch work of each task at 0 s, one second if not told else; when each of them ends."""
    clock = VirtualClock()
    interference = Interference(
        lambda task, other: factors.get((task, other), 1.0), respite_s=respite_s
    )
    device = NullDevice(
        clock, [CPU], lambda task, *_: (works_s or {}).get(task, 1.0), interference=interference
    )
    for name, kind in kinds.items():
        device.load(Task(name=name, model="zoo:x", criticality=kind), "cpu")
    device.poll()
    if allowance is not None:
        device.limit("cpu", allowance)
    for number, name in enumerate(kinds):
        device.launch(name, [Request(number, name, 0.0, None, None, 0, 1, None)], 0)
    ended = {}
    while (next_s := device.next_event_s()) is not None:
        clock.advance_to(next_s)
        ended |= {one.task: one.end_s for one in device.poll() if isinstance(one, Completed)}
    return ended


@given(FACTORS, FACTORS)
def test_best_effort_neighbours_share_and_slow_each_other(of_a, of_b):
    ended = ends_s({"a": "best-effort", "b": "best-effort"}, {("a", "b"): of_a, ("b", "a"): of_b})
    fast, slow = sorted([of_a, of_b])
    # Half the machine each, until the faster one is done; the rest of the other one is alone.
    first_s = 2.0 * fast
    last_s = first_s + 1.0 - first_s / (2.0 * slow)
    assert sorted(ended.values()) == [pytest.approx(first_s), pytest.approx(last_s)]


@given(FACTORS)
def test_critical_work_pays_for_a_neighbour_that_is_held_back(factor):
    kinds = {"bulk": Criticality.BEST_EFFORT, "det": Criticality.CRITICAL}
    ended = ends_s(kinds, {("det", "bulk"): factor})
    assert ended["det"] == pytest.approx(max(1.0, factor))  # never faster than alone
    assert ended["bulk"] == pytest.approx(ended["det"] + 1.0)


def test_a_neighbour_that_the_guard_limits_costs_less():
    kinds = {"bulk": Criticality.BEST_EFFORT, "det": Criticality.CRITICAL}
    ended = ends_s(kinds, {("det", "bulk"): 1.4}, Allowance(1, 0.5))
    assert ended["det"] == pytest.approx(1.1)


def test_alone_nothing_is_slowed():
    assert ends_s({"a": "best-effort"}, {("a", "a"): 2.0}) == {"a": pytest.approx(1.0)}


def run(device, clock, launches):
    """Launch each task at its time; start and end of each."""
    spans_s, left = {}, sorted(launches, key=lambda one: one[1])
    while left or device.next_event_s() is not None:
        next_s = device.next_event_s()
        if left and (next_s is None or left[0][1] <= next_s):
            name, at_s = left.pop(0)
            clock.advance_to(at_s)
            device.launch(name, [Request(1, name, at_s, None, None, 0, 1, None)], 0)
        else:
            clock.advance_to(next_s)
        spans_s |= {
            one.task: (one.start_s, one.end_s)
            for one in device.poll()
            if isinstance(one, Completed)
        }
    return spans_s


def device_of(kinds, interference, component=CPU):
    clock = VirtualClock()
    device = NullDevice(clock, [component], lambda *_: 1.0, interference=interference)
    for name, kind in kinds.items():
        device.load(Task(name=name, model="zoo:x", criticality=kind), "cpu")
    device.poll()
    return device, clock


@given(st.lists(st.floats(0.1, 0.9), max_size=4), st.floats(0.0, 0.5))
def test_each_interruption_is_lost_once_and_nothing_before_the_start(offsets_s, lost_s):
    critical = {f"c{place}": "critical" for place in range(len(offsets_s))}
    interference = Interference(interruption_s=lambda task, held_s: lost_s * held_s)
    device, clock = device_of({"bulk": "best-effort", **critical}, interference)
    # Each second of critical work begins after the one before it has ended.
    launches = [(name, 1.5 * place + offset_s + 0.2) for place, (name, offset_s) in
                enumerate(zip(critical, sorted(offsets_s), strict=True))]  # fmt: skip
    spans_s = run(device, clock, [("bulk", 0.0), *launches])
    end_s = 1.0
    for name, at_s in launches:
        assume(abs(at_s - end_s) > 1e-9)  # whether it still runs then is for rounding to say
        if at_s < end_s:
            end_s += 1.0 + lost_s
        assert spans_s[name] == (at_s, pytest.approx(at_s + 1.0))
    assert spans_s["bulk"][1] == pytest.approx(end_s)
    late = run(*device_of({"bulk": "best-effort", "c": "critical"}, interference),
               [("c", 0.0), ("bulk", 0.0)])  # fmt: skip
    assert late["bulk"][1] == pytest.approx(2.0)  # it had not begun


def test_joining_others_costs_on_a_single_core_alone():
    interference = Interference(joining_s=lambda task: 0.25)
    tasks = {"a": "best-effort", "b": "best-effort", "c": "critical"}
    launches = [("a", 0.0), ("b", 0.5), ("c", 0.75)]
    one = Component("cpu", "null", (0,), Capability.PREEMPTIVE)
    shared = run(*device_of(tasks, interference, one), launches)
    # 3 s of work, and what it cost `b` to begin beside `a`; critical work joins nobody.
    assert max(end_s for _, end_s in shared.values()) == pytest.approx(3.25)
    assert shared["c"] == (0.75, pytest.approx(1.75))
    wide = run(*device_of(tasks, interference), launches)
    assert max(end_s for _, end_s in wide.values()) == pytest.approx(3.0)


def test_a_service_knows_how_long_ago_its_task_ran_and_how_long_ago_any_did():
    seen = []

    def waking(task, own_rest_s, rest_s):
        seen.append((task, own_rest_s, rest_s))
        return 2.0 if rest_s else 0.5

    device, clock = device_of({"a": "best-effort", "b": "best-effort"}, Interference(waking=waking))
    spans_s = run(device, clock, [("a", 3.0), ("b", 4.0), ("a", 9.0)])
    # Both halves of the machine until 5 s, when `b` is done; `a` has the rest to itself.
    ended_s = pytest.approx(9.0 - 5.5)
    assert seen == [("a", math.inf, 3.0), ("b", math.inf, 0.0), ("a", ended_s, ended_s)]
    assert spans_s["b"][1] == pytest.approx(5.0)


def test_an_answer_holds_the_cores_and_is_sent_as_fast_as_ever():
    interference = Interference(waking=lambda *_: 0.5, answer_s=lambda task: 0.25)
    device, clock = device_of({"a": "critical"}, interference)
    assert run(device, clock, [("a", 1.0)])["a"][1] == pytest.approx(1.0 + 0.5 + 0.25)
    device.launch("a", [Request(2, "a", clock.now(), None, None, 0, 1, None)], 0)
    clock.advance_to(device.next_event_s())
    [end] = device.poll()
    assert end.busy_s == pytest.approx(0.5)  # the server's own work is not the task's


def test_who_is_kept_from_the_cores_has_a_part_of_each_second():
    kinds = {"bulk": Criticality.BEST_EFFORT, "det": Criticality.CRITICAL}
    works_s = {"bulk": 0.07, "det": 3.0}
    ended = ends_s(kinds, {}, works_s=works_s, respite_s=0.05)
    # From 0.95 s to 1, and then only as long as there is something left to do.
    assert ended == {"bulk": pytest.approx(1.97), "det": pytest.approx(3.07)}
    assert ends_s(kinds, {}, works_s=works_s)["bulk"] == pytest.approx(3.07)


@given(st.floats(0.01, 2.0), st.floats(0.01, 5.0), st.floats(0.01, 0.5))
def test_a_respite_takes_no_more_than_its_part_and_loses_no_work(bulk_s, det_s, respite_s):
    kinds = {"bulk": Criticality.BEST_EFFORT, "det": Criticality.CRITICAL}
    works_s = {"bulk": bulk_s, "det": det_s}
    ended = ends_s(kinds, {}, works_s=works_s, respite_s=respite_s)
    assert max(ended.values()) == pytest.approx(bulk_s + det_s)
    assert ended["det"] <= det_s + respite_s * (det_s / (1.0 - respite_s) + 1.0) + 1e-9
