"""The files that a task's lane loads: a task goes in, its segments' paths come out."""

from cotenant.core.task import Task
from cotenant.graph.load import check_model, resolve_model
from cotenant.graph.partition import cut


def model_paths(task: Task) -> tuple[str, ...]:
    """Find, check and, where the task asks for it, cut the task's model.

    Raises:
        ModelError: the model is unknown, damaged, unsafe or cannot be cut so often.
    """
    path = resolve_model(task.model)
    check_model(path)
    if task.segments == 1:
        return (str(path),)
    return tuple(str(segment.path) for segment in cut(path, task.segments))
