"""The simulator as a program: each arrival answered once, one seed one run, mistakes named.

That it agrees with the theory of queues is shown in `tests/bench/test_theory.py`.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from cotenant.core.errors import WorkloadError
from cotenant.core.hardware import Capability, Component
from cotenant.core.record import Record
from cotenant.core.task import Task
from cotenant.device.base import Allowance
from cotenant.device.null import NullDevice, ServiceTime
from cotenant.policy import POLICIES, policy_by_name
from cotenant.runtime.laws import ServiceLaw, drawn, gamma_law
from cotenant.runtime.simulate import Scene, Simulated, simulate

CPU = Component("cpu", "null", (0, 1), Capability.PREEMPTIVE)


def poisson(name: str, rate_rps: float, **about: object) -> Task:
    return Task(
        name=name,
        model="m",
        arrivals={"kind": "poisson", "rate": rate_rps},
        queue={"max_size": 1_000_000},
        **about,
    )


def closed(name: str, clients: int = 1, think_s: float = 0.0, **about: object) -> Task:
    loop = {"kind": "closed-loop", "clients": clients, "think": think_s}
    return Task(name=name, model="m", arrivals=loop, **about)


def run(
    policy: str,
    tasks: Sequence[Task],
    service: ServiceTime | dict[str, ServiceLaw],
    requests: int,
    *,
    seed: int = 1,
    warmup: int = 0,
) -> tuple[list[Record], Simulated]:
    rng, service_rng = np.random.default_rng(seed).spawn(2)
    times = drawn(service, tasks, service_rng) if isinstance(service, dict) else service
    records: list[Record] = []
    scene = Scene(tasks, [CPU], policy_by_name(policy), times)
    return records, simulate(scene, requests, rng, records.append, warmup=warmup)


@pytest.mark.parametrize("policy", POLICIES)
def test_one_seed_is_one_run(policy):
    tasks = [
        poisson("det", 20.0, criticality="critical"),
        closed("ocr", clients=3, think_s=0.01),
        poisson("tag", 30.0, deadline_s=0.05, segments=2),
    ]
    laws = {task.name: gamma_law(0.01, 0.3) for task in tasks}
    first, again, other = (run(policy, tasks, laws, 2_000, seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("policy", POLICIES)
def test_every_arrival_is_answered_once_even_under_overload(policy):
    bounds = {"queue": {"max_size": 3, "timeout": 0.1}}
    arrivals = {"kind": "poisson", "rate": 200.0}
    tasks = [
        Task(name="det", model="m", criticality="critical", arrivals=arrivals, **bounds),
        Task(name="ocr", model="m", arrivals=arrivals, deadline_s=0.05, **bounds),
        closed("tag", clients=2, think_s=0.001),
    ]
    laws = {task.name: gamma_law(0.01, 0.3) for task in tasks}
    records, ended = run(policy, tasks, laws, 5_000)
    assert sorted(record.id for record in records) == list(range(1, 5_001))
    assert ended.requests == 5_000
    assert len(Counter(record.outcome for record in records)) > 2


def test_warmup_is_served_but_not_recorded():
    everything, _ = run("sequential", [poisson("a", 50.0)], {"a": gamma_law(0.01, 1.0)}, 2_000)
    counted, _ = run(
        "sequential", [poisson("a", 50.0)], {"a": gamma_law(0.01, 1.0)}, 2_000, warmup=500
    )
    assert counted == [record for record in everything if record.id > 500]


def test_a_closed_loop_is_as_fast_as_the_law_of_little_says():
    """X = N / (R + Z), and a server that is never idle gives X = 1 / S."""
    laws = {"a": gamma_law(0.010, 0.5)}
    records, ended = run("sequential", [closed("a", clients=4, think_s=0.005)], laws, 20_000)
    rate_rps = ended.requests / ended.span_s
    sojourn_s = float(np.mean([record.sojourn_s for record in records]))
    assert rate_rps == pytest.approx(4 / (sojourn_s + 0.005), rel=0.002)
    _, busy = run("sequential", [closed("a", clients=2)], {"a": gamma_law(0.010)}, 1_000)
    assert busy.requests / busy.span_s == pytest.approx(1 / 0.010, rel=0.01)
    assert busy.utilization["a"] == pytest.approx(1.0, rel=0.01)


def test_critical_tasks_in_each_others_way_cost_best_effort_work_nothing(monkeypatch):
    """The guard must not throttle best-effort work for what a more important task did."""
    tasks = [
        poisson("det", 75.0, criticality="critical", priority=2),
        poisson("seg", 5.0, criticality="critical", priority=1),
        poisson("ocr", 10.0),
    ]
    laws = {task.name: gamma_law(0.01) for task in tasks}
    told: list[Allowance] = []
    monkeypatch.setattr(NullDevice, "limit", lambda device, component, to: told.append(to))
    run("cotenant", tasks, laws, 10_000)
    assert told == []


def test_segments_share_one_drawn_time():
    whole, _ = run("sequential", [poisson("a", 10.0)], {"a": gamma_law(0.01, 1.0)}, 500)
    parts, _ = run("sequential", [poisson("a", 10.0, segments=4)], {"a": gamma_law(0.01, 1.0)}, 500)
    assert [len(record.segments) for record in parts] == [4] * 500
    ends_s = [record.end_s for record in whole]
    assert [record.end_s for record in parts] == pytest.approx(ends_s)


def test_progress_rises_to_the_end():
    seen: list[int] = []
    task = poisson("a", 10.0)
    scene = Scene([task], [CPU], policy_by_name("cotenant"), lambda task, rows, segment: 0.01)
    simulate(scene, 1_000, np.random.default_rng(1), lambda record: None, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1_000
    assert 100 <= len(seen) <= 201


def test_what_cannot_be_simulated_is_said():
    laws = {"a": gamma_law(0.01)}
    with pytest.raises(WorkloadError, match="'a' has no arrivals"):
        run("cotenant", [Task(name="a", model="m")], laws, 10)
    with pytest.raises(WorkloadError, match="no service time for task 'b'"):
        run("cotenant", [poisson("b", 1.0)], laws, 10)
    turned_away = closed("a", clients=9, queue={"max_size": 2})
    with pytest.raises(WorkloadError, match=r"turned away at once \(rejected\)"):
        run("cotenant", [turned_away], laws, 100)
    for mean_s, cv in ((0.0, 0.0), (float("nan"), 0.0), (0.01, -1.0)):
        with pytest.raises(WorkloadError, match="impossible"):
            gamma_law(mean_s, cv)
