"""A name or a workload file goes in, a scenario comes out: who shares the machine, and how.

The service-level objectives of the built-in scenarios are those of a camera box: a
detector at 20 Hz answers within 40 ms, a slower network at 5 Hz within 150 ms.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cotenant.core.errors import WorkloadError
from cotenant.core.task import ClosedLoop, Criticality, Periodic, Slo, Task
from cotenant.core.workload import Workload, load_workload

POLICIES = ("cotenant", "concurrent", "sequential", "priority-queue")


class Scenario(NamedTuple):
    """One workload and what it is put through."""

    name: str
    workload: Workload
    policies: tuple[str, ...] = POLICIES
    overload: float | None = None
    """Best-effort tasks are offered this many times the rate they reach alone."""
    kills: int = 0
    """Times that the best-effort lane is killed, over all rounds."""
    seconds_s: float | None = None
    """Length of a phase where the scenario fixes it."""

    @property
    def critical(self) -> tuple[Task, ...]:
        return tuple(task for task in self.workload.tasks if task.critical)

    @property
    def best_effort(self) -> tuple[Task, ...]:
        return tuple(task for task in self.workload.tasks if not task.critical)


def find_scenario(name: str) -> Scenario:
    """A built-in scenario, or the workload file of the user's own.

    Raises:
        WorkloadError: when it is neither, or a task of the file has no arrivals.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    path = Path(name)
    if not path.is_file():
        raise WorkloadError(
            f"scenario {name!r} is neither a file nor one of {', '.join(sorted(BUILT_IN))}"
        )
    workload = load_workload(path)
    for task in workload.tasks:
        if task.arrivals is None:
            raise WorkloadError(
                f"{path}: task {task.name!r} has no arrivals, so the bench cannot load it; "
                "add for example 'arrivals: {kind: periodic, rate: 20/s}'"
            )
    if workload.name == "workload":
        workload = workload.model_copy(update={"name": path.stem})
    return Scenario(workload.name, workload)


def _critical(model: str, rate_rps: float, slo_s: float) -> Task:
    return Task(
        name=model,
        model=f"zoo:{model}",
        criticality=Criticality.CRITICAL,
        slo=Slo(latency_s=slo_s),
        arrivals=Periodic(kind="periodic", rate_rps=rate_rps),
    )


def _best_effort(model: str) -> Task:
    return Task(name=model, model=f"zoo:{model}", arrivals=ClosedLoop(kind="closed-loop"))


def _workload(name: str, *tasks: Task) -> Workload:
    return Workload(name=name, tasks=tasks)


_SQUEEZENET = _critical("squeezenet", 20.0, 0.040)
_RESNET50 = _best_effort("resnet50")

BUILT_IN: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("squeezenet-resnet50", _workload("squeezenet-resnet50", _SQUEEZENET, _RESNET50)),
        Scenario(
            "resnet50-vgg19",
            _workload("resnet50-vgg19", _critical("resnet50", 5.0, 0.150), _best_effort("vgg19")),
        ),
        Scenario(
            "squeezenet-five",
            _workload(
                "squeezenet-five",
                _SQUEEZENET,
                *map(
                    _best_effort,
                    ("resnet50", "densenet121", "inception_v1", "shufflenet", "alexnet"),
                ),
            ),
        ),
        Scenario(
            "overload",
            _workload("overload", _SQUEEZENET, _RESNET50),
            policies=("cotenant", "concurrent"),
            overload=10.0,
            seconds_s=30.0,
        ),
        Scenario(
            "kill",
            _workload("kill", _SQUEEZENET, _RESNET50),
            policies=("cotenant",),
            kills=20,
        ),
    )
}
