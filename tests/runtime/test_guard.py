"""The guard as data: records go in, allowances come out."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.hardware import Capability, Component
from cotenant.core.record import Outcome, Record
from cotenant.core.task import Task
from cotenant.runtime.guard import LADDER_STEPS, Guard, GuardSettings, ladder
from cotenant.runtime.trial import STRETCH, TRIAL

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


def suffer(guard: Guard, harm: float, times: int, *, task: Task = DET, drift: float = 1.0) -> list:
    """Requests whose slowdown follows what best-effort work is given, as memory traffic makes it.

    The steps that applied are returned. `drift` slows everything down, whoever runs.
    """
    steps = []
    for _ in range(times):
        steps.append(ladder(4).index(guard.allowance(CPU, LAST_S)))
        served(guard, 0.010 * drift * (1.0 + harm * amount(guard)), 1, alone=False, task=task)
    return steps


def step(guard: Guard) -> int:
    return ladder(4).index(guard.allowance(CPU, LAST_S))


def test_what_best_effort_causes_is_tried_and_then_taken_away(guard):
    strikes = suffer(guard, 0.5, SETTINGS.strikes * SETTINGS.window)
    assert set(strikes) == {0}
    tried = suffer(guard, 0.5, TRIAL)
    assert sorted(set(tried)) == [0, SETTINGS.trial_steps]
    assert tried.count(0) == tried.count(SETTINGS.trial_steps)
    assert step(guard) == SETTINGS.trial_steps


@given(harm=st.floats(0.0, 3.0), noise=st.floats(0.0, 0.05), seed=st.integers(0, 2**32))
def test_what_best_effort_causes_ends_within_the_bound_or_at_the_last_step(harm, noise, seed):
    guard, rng = Guard(SETTINGS), np.random.default_rng(seed)
    served(guard, 0.010, 8, alone=True)
    calm = 0
    for _ in range(1500):
        slowdown = 1.0 + harm * amount(guard)
        calm += slowdown <= DET.slowdown_max
        served(guard, 0.010 * slowdown * (1.0 + noise * rng.uniform(-1, 1)), 1, alone=False)
    # It tries again to give more once all is calm, so not every request is within the bound.
    assert calm > 100


def test_what_was_taken_is_given_back_when_latency_is_calm(guard):
    suffer(guard, 0.5, SETTINGS.strikes * SETTINGS.window + TRIAL)
    assert step(guard) == SETTINGS.trial_steps
    served(guard, 0.0101, 4 * SETTINGS.window, alone=False)
    assert step(guard) == 0


def test_one_bad_window_is_not_enough(guard):
    for _ in range(10):
        served(guard, 0.0120, SETTINGS.window, alone=False)
        assert step(guard) == 0
        served(guard, 0.0107, SETTINGS.window, alone=False)
    assert step(guard) == 0


def test_what_best_effort_does_not_cause_is_not_held_against_it(guard):
    """Starving it would gain nothing: a short trial shows that, and the next one comes later."""
    steps = [step for _ in range(200) for step in suffer(guard, 0.0, SETTINGS.window, drift=2.0)]
    held = [step > 0 for step in steps]
    half = len(held) // 2
    assert sum(held[:half]) > sum(held[half:]) > 0
    assert sum(held) < 0.03 * len(held)
    assert step(guard) == 0


@given(seed=st.integers(0, 2**32), period=st.integers(200, 2000), depth=st.floats(0.0, 0.5))
def test_a_machine_that_drifts_does_not_starve_best_effort_work(seed, period, depth):
    """Slow and fast times of the whole machine come and go, longer than a trial, with noise."""
    guard, rng = Guard(), np.random.default_rng(seed)
    served(guard, 0.010, 16, alone=True)
    held = 0
    for number in range(3000):
        held += step(guard) > 0
        slow = 1.0 + depth * (1.0 + np.sin(2 * np.pi * number / period))
        served(guard, 0.010 * slow * rng.lognormal(0.0, 0.1), 1, alone=False)
    assert held < 0.25 * 3000


def test_what_no_longer_helps_is_given_back_though_latency_is_not_calm(guard):
    suffer(guard, 0.5, SETTINGS.strikes * SETTINGS.window + TRIAL)
    assert step(guard) == SETTINGS.trial_steps
    suffer(guard, 0.0, 20 * SETTINGS.window, drift=1.5)
    assert step(guard) == 0


def test_giving_up_for_one_task_keeps_what_another_one_asked_for(guard):
    served(guard, 0.010, 8, alone=True, task=OTHER)
    suffer(guard, 0.5, SETTINGS.strikes * SETTINGS.window + TRIAL)
    assert step(guard) == SETTINGS.trial_steps
    seen = suffer(guard, 0.0, 3 * SETTINGS.window + TRIAL, task=OTHER, drift=2.0)
    assert max(seen) > SETTINGS.trial_steps
    assert step(guard) == SETTINGS.trial_steps


def test_a_trial_ends_when_its_task_goes_quiet(guard):
    suffer(guard, 0.5, SETTINGS.strikes * SETTINGS.window + STRETCH)
    assert step(guard) == SETTINGS.trial_steps
    late_s = 0.010 + SETTINGS.trial_quiet_s + 1.0
    served(guard, late_s, 1, alone=False, task=OTHER)  # the component is not quiet
    assert guard.allowance(CPU, late_s) == ladder(4)[0]


def test_a_trial_ends_when_its_task_is_unloaded(guard):
    suffer(guard, 0.5, SETTINGS.strikes * SETTINGS.window + STRETCH)
    guard.forget("det")
    assert step(guard) == 0


def test_after_giving_up_a_calm_time_makes_the_guard_quick_again(guard):
    suffer(guard, 0.0, 60 * SETTINGS.window, drift=2.0)
    served(guard, 0.0100, 4 * SETTINGS.window, alone=False)
    assert step(guard) == 0
    suffer(guard, 0.5, SETTINGS.strikes * SETTINGS.window + TRIAL)
    assert step(guard) == SETTINGS.trial_steps


def test_the_last_step_is_the_last(guard):
    suffer(guard, 50.0, 2000)
    assert step(guard) == LADDER_STEPS - 1


def test_without_a_baseline_there_is_no_verdict():
    guard = Guard(SETTINGS)
    served(guard, 0.5, 100, alone=False)
    assert guard.slowdown("det") is None
    assert step(guard) == 0


def test_best_effort_latency_moves_nothing(guard):
    served(guard, 0.5, 100, alone=False, task=Task(name="ocr", model="m"))
    assert step(guard) == 0


@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_the_ladder_only_goes_down(width):
    steps = ladder(width)
    assert steps[0] == (width, 1.0)
    for above, below in itertools.pairwise(steps):
        assert below.width * below.duty <= above.width * above.duty
        assert below.width >= 1
        assert below.duty > 0


def test_without_critical_work_nothing_is_held_back(guard):
    suffer(guard, 0.5, SETTINGS.strikes * SETTINGS.window + TRIAL)
    assert step(guard) > 0
    assert guard.allowance(CPU, 0.015 + SETTINGS.quiet_s + 0.001) == ladder(4)[0]
