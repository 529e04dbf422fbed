"""The files that a task's lane loads: a task goes in, its segments' paths come out."""

from cotenant.core.task import Task


def model_paths(task: Task) -> tuple[str, ...]:
    return (task.model,)
