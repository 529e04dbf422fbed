"""What launches in flight together cost each other on the null device, worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.clock import VirtualClock
from cotenant.core.hardware import Capability, Component
from cotenant.core.request import Request
from cotenant.core.task import Criticality, Task
from cotenant.device.base import Allowance, Completed
from cotenant.device.null import NullDevice

CPU = Component("cpu", "null", (0, 1), Capability.PREEMPTIVE)
FACTORS = st.floats(0.6, 3.0)


def ends_s(kinds, factors, allowance=None):
    """Launch one second of work of each task at 0 s; when each of them ends."""
    clock = VirtualClock()
    device = NullDevice(
        clock, [CPU], lambda *_: 1.0, slowdown=lambda task, other: factors.get((task, other), 1.0)
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
