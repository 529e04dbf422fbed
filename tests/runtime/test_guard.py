"""The guard as data: records go in, allowances come out."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.hardware import Capability, Component
from cotenant.core.record import Outcome, Record
from cotenant.core.task import Task
from cotenant.runtime.guard import Guard, GuardSettings, ladder

CPU = Component("cpu", "cpu", (0, 1, 2, 3), Capability.PREEMPTIVE)
DET = Task(name="det", model="m", criticality="critical", slowdown_max=1.1)
OTHER = DET.model_copy(update={"name": "other"})
LAST_S = 0.5
SETTINGS = GuardSettings(window=8, baseline_least=4)


def served(guard: Guard, service_s: float, times: int, *, alone: bool, task: Task = DET) -> None:
    for number in range(times):
        end_s = service_s
        guard.observe(
            task,
            Record(
                id=number,
                task=task.name,
                critical=task.critical,
                outcome=Outcome.OK,
                arrival_s=0.0,
                start_s=0.0,
                end_s=end_s,
                component="cpu",
                width=4,
                batch=1,
                segments=((0.0, end_s),),
                alone=alone,
            ),
            beside=not alone,
        )


@pytest.fixture
def guard() -> Guard:
    guard = Guard(SETTINGS)
    served(guard, 0.010, 8, alone=True)
    return guard


def test_within_the_bound_best_effort_keeps_everything(guard):
    served(guard, 0.0109, 100, alone=False)
    assert guard.allowance(CPU, LAST_S) == ladder(4)[0]
    assert guard.slowdown("det") == pytest.approx(1.09)


def amount(guard: Guard) -> float:
    """How much of the machine best-effort work may use."""
    allowance = guard.allowance(CPU, LAST_S)
    return allowance.width * allowance.duty / 4


def test_over_the_bound_best_effort_is_given_less_step_by_step(guard):
    seen = []
    for _ in range(6):
        served(guard, 0.010 * (1.1 + 0.5 * amount(guard)), SETTINGS.window, alone=False)
        seen.append(ladder(4).index(guard.allowance(CPU, LAST_S)))
    assert seen == [0, 1, 2, 3, 4, 5]  # the first window is only a strike


@given(harm=st.floats(0.0, 3.0), times=st.integers(20, 60))
def test_what_best_effort_causes_ends_within_the_bound_or_at_the_last_step(harm, times):
    """The slowdown follows what best-effort work is given, as memory traffic makes it."""
    guard = Guard(SETTINGS)
    served(guard, 0.010, 8, alone=True)
    slowdowns = []
    for _ in range(times):
        slowdowns.append(1.0 + harm * amount(guard))
        served(guard, 0.010 * slowdowns[-1], SETTINGS.window, alone=False)
    # It tries again to give more once all is calm, so not every window is under the bound.
    assert any(one <= DET.slowdown_max for one in slowdowns[-10:])


def test_what_was_taken_is_given_back_when_latency_is_calm(guard):
    served(guard, 0.0120, 3 * SETTINGS.window, alone=False)
    assert guard.allowance(CPU, LAST_S) != ladder(4)[0]
    served(guard, 0.0101, 4 * SETTINGS.window, alone=False)
    assert guard.allowance(CPU, LAST_S) == ladder(4)[0]


def test_one_bad_window_is_not_enough(guard):
    for _ in range(10):
        served(guard, 0.0120, SETTINGS.window, alone=False)
        served(guard, 0.0107, SETTINGS.window, alone=False)
    assert guard.allowance(CPU, LAST_S) == ladder(4)[0]


def test_what_best_effort_does_not_cause_is_not_held_against_it(guard):
    """Starving it would gain nothing: the guard gives up soon, and tries ever more seldom."""
    steps = []
    for _ in range(200):
        served(guard, 0.0200, SETTINGS.window, alone=False)
        steps.append(ladder(4).index(guard.allowance(CPU, LAST_S)))
    assert max(steps) == SETTINGS.trial_steps
    held = [step > 0 for step in steps]
    assert sum(held[:100]) > sum(held[100:]) > 0
    assert sum(held) < 0.1 * len(held)


def test_giving_up_for_one_task_keeps_what_another_one_asked_for(guard):
    served(guard, 0.010, 8, alone=True, task=OTHER)
    served(guard, 0.0120, 2 * SETTINGS.window, alone=False)
    held = guard.allowance(CPU, LAST_S)
    assert held == ladder(4)[1]
    served(guard, 0.0200, 3 * SETTINGS.window, alone=False, task=OTHER)
    assert guard.allowance(CPU, LAST_S) == ladder(4)[1 + SETTINGS.trial_steps]
    served(guard, 0.0200, SETTINGS.window, alone=False, task=OTHER)
    assert guard.allowance(CPU, LAST_S) == held


def test_after_giving_up_a_calm_time_makes_the_guard_quick_again(guard):
    served(guard, 0.0200, 60 * SETTINGS.window, alone=False)
    served(guard, 0.0100, 4 * SETTINGS.window, alone=False)
    assert guard.allowance(CPU, LAST_S) == ladder(4)[0]
    served(guard, 0.0120, SETTINGS.strikes * SETTINGS.window, alone=False)
    assert guard.allowance(CPU, LAST_S) == ladder(4)[1]


def test_without_a_baseline_there_is_no_verdict():
    guard = Guard(SETTINGS)
    served(guard, 0.5, 100, alone=False)
    assert guard.slowdown("det") is None
    assert guard.allowance(CPU, LAST_S) == ladder(4)[0]


def test_best_effort_latency_moves_nothing(guard):
    served(guard, 0.5, 100, alone=False, task=Task(name="ocr", model="m"))
    assert guard.allowance(CPU, LAST_S) == ladder(4)[0]


@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_the_ladder_only_goes_down(width):
    steps = ladder(width)
    assert steps[0] == (width, 1.0)
    for above, below in itertools.pairwise(steps):
        assert below.width * below.duty <= above.width * above.duty
        assert below.width >= 1
        assert below.duty > 0


def test_without_critical_work_nothing_is_held_back(guard):
    served(guard, 0.0120, 3 * SETTINGS.window, alone=False)
    assert guard.allowance(CPU, LAST_S) != ladder(4)[0]
    assert guard.allowance(CPU, 0.012 + SETTINGS.quiet_s + 0.001) == ladder(4)[0]
