"""A workload, widths and numbers of segments go in; its tasks in each such form come out.

Plans and predictions ask what a task would take with fewer cores or in more segments. A form
that a task of the workload has already is not measured twice.
"""

from collections.abc import Sequence
from itertools import product

from cotenant.core.errors import WorkloadError
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.profiling.subject import component_width, subject_of


def variations(
    workload: Workload, widths: Sequence[int], segments: Sequence[int]
) -> tuple[Task, ...]:
    """Every task with each of the widths in each number of segments; its own where none is given.

    Raises:
        WorkloadError: a width that the task's component does not have.
        ModelError: a model cannot be found or read.
    """
    if not widths and not segments:
        return ()
    known = {subject_of(task, workload) for task in workload.tasks}
    found = []
    for task in workload.tasks:
        most = component_width(task, workload)
        for width, parts in product(widths or (task.width,), segments or (task.segments,)):
            if width is not None and width > most:
                raise WorkloadError(
                    f"task {task.name!r} cannot run with width {width}: its component has {most} "
                    "cores; leave that width away"
                )
            form = {"name": _name(task, width, parts), "width": width, "segments": parts}
            variation = task.model_copy(update=form)
            subject = subject_of(variation, workload)
            if subject not in known:
                known.add(subject)
                found.append(variation)
    return tuple(found)


def _name(task: Task, width: int | None, segments: int) -> str:
    # No task of a workload file can have an '@' in its name, so none has this one.
    return f"{task.name}@{'' if width is None else f'width={width},'}segments={segments}"
