"""A scenario and latencies alone go in; the same scenario at rates that the device can bear, out.

The rule: all open-loop rates of critical tasks are multiplied by one factor,

    f = min(1, u / sum over these tasks of (rate x latency alone)),

so that critical work alone takes at most the part u of the device. Published rates are for
published devices; a slower one would only queue, and a policy cannot be told from another in
a queue that grows. Closed loops need no rate.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cotenant.bench.load import LoadGenerator, LoadPlan, TaskLoad
from cotenant.bench.scenarios import Scenario
from cotenant.bench.servers import HOST, Server
from cotenant.core.errors import ExecutionError, WorkloadError
from cotenant.core.record import Outcome
from cotenant.core.task import Periodic, Poisson, Task

UTILIZATION = 0.3
_LEAST = 5
"""Answers that a median is taken of."""
_LEAST_DUE = 3.0
"""Requests that a phase has to see of each critical task."""
_LONGEST_S = 60.0
_DRAIN_S = 60.0


class RateScale(NamedTuple):
    """What was done to the rates of a scenario, and why."""

    factor: float
    alone_s: Mapping[str, float]
    """Median latency alone of each critical open-loop task; empty where it was not measured."""


def open_loop(scenario: Scenario) -> tuple[Task, ...]:
    """The critical tasks with a rate."""
    return tuple(
        task for task in scenario.critical if isinstance(task.arrivals, Periodic | Poisson)
    )


def factor_for(scenario: Scenario, alone_s: Mapping[str, float]) -> float:
    """The factor of the rule above.

    >>> from cotenant.bench.suites import SUITES
    >>> b = SUITES["mdtb"].scenarios[1]
    >>> [round(factor_for(b, {"critical-squeezenet": one_s}), 3) for one_s in (0.3, 0.01)]
    [0.1, 1.0]
    """
    offered = sum(_rate_rps(task) * alone_s[task.name] for task in open_loop(scenario))
    return 1.0 if offered <= UTILIZATION else UTILIZATION / offered


def scaled(scenario: Scenario, factor: float) -> Scenario:
    """The scenario with the rates of its critical tasks multiplied."""

    def slower(task: Task) -> Task:
        if not task.critical or not isinstance(task.arrivals, Periodic | Poisson):
            return task
        rate_rps = task.arrivals.rate_rps * factor
        return task.model_copy(
            update={"arrivals": task.arrivals.model_copy(update={"rate_rps": rate_rps})}
        )

    tasks = tuple(map(slower, scenario.workload.tasks))
    return scenario._replace(workload=scenario.workload.model_copy(update={"tasks": tasks}))


def check_due(scenario: Scenario, seconds_s: float) -> None:
    """Refuse phases that are too short for the rates.

    Raises:
        WorkloadError: so few requests of a critical task would be due that they say nothing.
    """
    for task in open_loop(scenario):
        due = _rate_rps(task) * seconds_s
        if due < _LEAST_DUE:
            enough_s = math.ceil(_LEAST_DUE / _rate_rps(task))
            raise WorkloadError(
                f"at the rate that this device can bear, task {task.name!r} is asked once in "
                f"{1.0 / _rate_rps(task):.1f} s, and a phase of {seconds_s:g} s would see too few "
                f"requests; give --seconds {enough_s} or more"
            )


def measured_alone(
    scenario: Scenario, server: Server, generator: LoadGenerator, seed: int
) -> dict[str, float]:
    """Median latency of each critical open-loop task, in a closed loop with nothing beside it.

    Raises:
        ExecutionError: a task answers nothing.
    """
    alone_s = {}
    for task in open_loop(scenario):
        seconds_s, latencies_s = 0.5, np.empty(0)
        while latencies_s.size < _LEAST and seconds_s <= _LONGEST_S:
            seconds_s *= 2.0
            load = TaskLoad(task.name, None, clients=1)
            plan = LoadPlan(HOST, server.port, seed, 0.0, seconds_s, _DRAIN_S, (load,))
            seen = generator.drive(plan).seen
            latencies_s = np.array(
                [one.end_s - one.scheduled_s for one in seen if one.outcome is Outcome.OK]
            )
        if not latencies_s.size:
            raise ExecutionError(
                f"task {task.name!r} of {scenario.name!r} answers nothing while it is alone; "
                f"read the server's log {str(server.log_path)!r}"
            )
        alone_s[task.name] = float(np.median(latencies_s))
    return alone_s


def _rate_rps(task: Task) -> float:
    return task.arrivals.rate_rps if isinstance(task.arrivals, Periodic | Poisson) else 0.0
