"""The guard as data: records go in, allowances come out."""

import itertools

import pytest

from cotenant.core.hardware import Capability, Component
from cotenant.core.record import Outcome, Record
from cotenant.core.task import Task
from cotenant.runtime.guard import Guard, GuardSettings, ladder

CPU = Component("cpu", "cpu", (0, 1, 2, 3), Capability.PREEMPTIVE)
DET = Task(name="det", model="m", criticality="critical", slowdown_max=1.1)
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


def test_over_the_bound_best_effort_is_given_less_step_by_step(guard):
    seen = []
    for _ in range(5):
        served(guard, 0.0120, SETTINGS.window, alone=False)
        seen.append(ladder(4).index(guard.allowance(CPU, LAST_S)))
    assert seen == [0, 1, 2, 3, 4]  # the first window is only a strike


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
    """Starving it for ever would gain nothing: the guard gives up and starts anew."""
    steps = []
    for _ in range(30):
        served(guard, 0.0200, SETTINGS.window, alone=False)
        steps.append(ladder(4).index(guard.allowance(CPU, LAST_S)))
    assert max(steps) == len(ladder(4)) - 1
    assert 0 in steps[steps.index(max(steps)) :]


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
