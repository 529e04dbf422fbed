"""A task goes in; what a profile knows it by comes out: its graph, not its name or its weights."""

from cotenant.core.hardware import allowed_cores
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.graph.identity import graph_hash
from cotenant.profiling.profile import Subject


def subject_of(task: Task, workload: Workload) -> Subject:
    """What is measured and looked up for a task of this workload.

    Raises:
        ModelError: its model file cannot be found or read.
    """
    cores = component_width(task, workload)
    return Subject(
        graph_hash=graph_hash(task.model),
        criticality=task.criticality,
        width=min(task.width or cores, cores),
        segments=task.segments,
    )


def component_width(task: Task, workload: Workload) -> int:
    """Cores of the component that the task runs on."""
    named = {one.name: len(one.cores) for one in workload.components}
    first = next(iter(named.values()), len(allowed_cores()))
    return first if task.component is None else named.get(task.component, first)
