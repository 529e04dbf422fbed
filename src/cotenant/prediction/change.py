"""A workload and an edit go in; the edited workload comes out, checked like a file of its own."""

from typing import Any

import yaml
from pydantic import ValidationError

from cotenant.core.errors import WorkloadError
from cotenant.core.task import Periodic, Poisson, Task
from cotenant.core.workload import Workload


def with_rates(workload: Workload, factor: float, task: str | None = None) -> Workload:
    """Every open arrival rate, or that of one task, multiplied by `factor`.

    Raises:
        WorkloadError: there is no such rate to multiply.
    """
    scaled = [
        one.name
        for one in workload.tasks
        if isinstance(one.arrivals, Periodic | Poisson) and task in (None, one.name)
    ]
    if not scaled:
        which = "no task" if task is None else f"no task {task!r}"
        raise WorkloadError(
            f"the workload has {which} with periodic or poisson arrivals, so there is no rate "
            "to multiply"
        )

    def faster(one: Task) -> Task:
        if one.name not in scaled or not isinstance(one.arrivals, Periodic | Poisson):
            return one
        rate_rps = one.arrivals.rate_rps * factor
        arrivals = one.arrivals.model_copy(update={"rate_rps": rate_rps})
        return one.model_copy(update={"arrivals": arrivals})

    return workload.model_copy(update={"tasks": tuple(faster(one) for one in workload.tasks)})


def without(workload: Workload, task: str) -> Workload:
    """The workload less one task."""
    _require_task(workload, task)
    left = tuple(one for one in workload.tasks if one.name != task)
    if not left:
        raise WorkloadError(f"without {task!r} no task is left to predict")
    return workload.model_copy(update={"tasks": left})


def with_tasks(workload: Workload, tasks: tuple[Task, ...]) -> Workload:
    """The workload and more tasks."""
    return _checked(workload.model_copy(update={"tasks": workload.tasks + tasks}).model_dump())


def with_field(workload: Workload, assignment: str) -> Workload:
    """One field of one task set anew, written as 'TASK.field=value', value as in a workload file.

    Raises:
        WorkloadError: no such task or field, or a value that it cannot have.
    """
    path, equals, text = assignment.partition("=")
    task, dot, field = path.strip().partition(".")
    if not (equals and dot and field):
        raise WorkloadError(
            f"{assignment!r} is no assignment; write TASK.field=value, such as "
            "detector.arrivals.rate=30/s"
        )
    _require_task(workload, task)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WorkloadError(f"{assignment!r}: {text!r} is not a value: {error}") from error
    content = workload.model_dump(by_alias=True)
    tasks = list(content["tasks"])
    place = next(rank for rank, one in enumerate(tasks) if one["name"] == task)
    tasks[place] = _assigned(tasks[place], field.split("."), value)
    return _checked({**content, "tasks": tasks})


def _assigned(node: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    inside = node if isinstance(node, dict) else {}
    return {**inside, path[0]: _assigned(inside.get(path[0]), path[1:], value)}


def _checked(content: dict[str, Any]) -> Workload:
    try:
        return Workload.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise WorkloadError(
            f"{field or 'workload'}: {first['msg'].removeprefix('Value error, ')}; "
            "see 'cotenant schema' for what a workload may say"
        ) from error


def _require_task(workload: Workload, task: str) -> None:
    names = [one.name for one in workload.tasks]
    if task not in names:
        raise WorkloadError(f"there is no task {task!r}; there is {', '.join(names)}")
