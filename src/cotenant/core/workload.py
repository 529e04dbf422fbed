"""A workload file (YAML) becomes a frozen `Workload`; a mistake in it names line, field, remedy."""

import difflib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from cotenant.core.errors import WorkloadError
from cotenant.core.task import Noun, Task, Trace

_ARRIVAL_KINDS = ("periodic", "poisson", "closed-loop", "trace")


class ComponentSpec(Noun):
    """A part of this machine that tasks may be mapped to: a core set, or an accelerator."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    kind: Literal["cpu", "opencl", "cuda"] = Field(
        "cpu", description="cpu runs ONNX files; the others run bundles of 'cotenant compile'."
    )
    cores: tuple[int, ...] = Field((), description="Processor numbers, for cpu.")
    device: int | None = Field(
        None, ge=0, description="For opencl and cuda: its number in 'cotenant devices'."
    )

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> "ComponentSpec":
        if self.kind == "cpu" and not self.cores:
            raise ValueError(f"component {self.name!r} has no cores; write cores: [0, 1]")
        if self.kind == "cpu" and self.device is not None:
            raise ValueError(f"component {self.name!r}: 'device' goes with kind: opencl or cuda")
        if self.kind != "cpu" and self.cores:
            raise ValueError(
                f"component {self.name!r}: 'cores' goes with kind: cpu; for {self.kind} write "
                "device: 0"
            )
        return self


_Named = TypeVar("_Named", Task, ComponentSpec)


class Workload(Noun):
    """Everything that shares one machine."""

    name: str = "workload"
    policy: str = Field("cotenant", description="Who runs when; see 'cotenant policies'.")
    components: tuple[ComponentSpec, ...] = Field(
        (), description="Parts of the machine; one with all cores when absent."
    )
    tasks: tuple[Task, ...] = Field(min_length=1)

    @field_validator("tasks", "components")
    @classmethod
    def _names_are_unique(cls, named: tuple[_Named, ...]) -> tuple[_Named, ...]:
        names = [one.name for one in named]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two of them are named {twice[0]!r}; give each a name of its own")
        return named

    @model_validator(mode="after")
    def _components_are_known(self) -> "Workload":
        known = {component.name for component in self.components}
        for task in self.tasks:
            if task.component is not None and known and task.component not in known:
                raise ValueError(
                    f"task {task.name!r} asks for component {task.component!r}; "
                    f"there is {_listed(known)}"
                )
        return self


def load_workload(path: Path) -> Workload:
    """Read a workload file; relative model and trace paths start at the file's own folder."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(f"cannot read workload file {str(path)!r}: {error}") from error
    return parse_workload(text, source=str(path), folder=path.parent)


def parse_workload(text: str, source: str = "<workload>", folder: Path | None = None) -> Workload:
    """Parse the text of a workload file.

    Raises:
        WorkloadError: with `source:line`, the field, and the nearest valid name for a typo.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WorkloadError(f"{source}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise WorkloadError(f"{source}: a workload file is a mapping with a list of 'tasks'")
    try:
        workload = Workload.model_validate(content)
    except ValidationError as error:
        # Only now, for it takes as long as parsing: where each field stands.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        raise WorkloadError(_explain(error, root, source)) from error
    return workload if folder is None else _rooted(workload, folder)


def workload_schema() -> str:
    """JSON Schema of the workload file, for editors that check as one types."""
    schema = Workload.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Cotenant workload"
    return json.dumps(schema, indent=2)


def _rooted(workload: Workload, folder: Path) -> Workload:
    def rooted(task: Task) -> Task:
        update: dict[str, Any] = {}
        if not task.model.startswith(("zoo:", "python:")):
            update["model"] = str(folder / task.model)
        if isinstance(task.arrivals, Trace):
            update["arrivals"] = task.arrivals.model_copy(
                update={"path": folder / task.arrivals.path}
            )
        return task.model_copy(update=update)

    return workload.model_copy(update={"tasks": tuple(rooted(task) for task in workload.tasks)})


def _explain(error: ValidationError, root: yaml.Node | None, source: str) -> str:
    lines = []
    faults = error.errors(include_url=False)
    for fault in faults:
        if fault["type"] == "too_short" and len(faults) > 1:
            continue  # pydantic counts only the valid tasks; the others have said what is wrong
        location = _without_tags(fault["loc"])
        line = _line_of(root, location)
        field = ".".join(str(part) for part in location) or "workload"
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "unknown field" + _nearest(str(location[-1]), _siblings(location))
        elif fault["type"] in ("enum", "literal_error", "union_tag_invalid"):
            expected = fault.get("ctx", {}).get("expected_tags") or fault.get("ctx", {}).get(
                "expected", ""
            )
            names = [name.strip("' ") for name in expected.replace(" or ", ",").split(",")]
            given = fault["input"]
            if isinstance(given, dict):
                given = given.get("kind")
            message = f"{given!r} is not one of {_listed(names)}" + _nearest(str(given), names)
        lines.append(f"{source}:{line}: {field}: {message}")
    return "\n".join(lines)


def _without_tags(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    # pydantic puts the chosen kind of a union behind its field: tasks.0.arrivals.poisson.rate
    return tuple(
        part
        for before, part in zip((None, *location), location, strict=False)
        if before != "arrivals" or part not in _ARRIVAL_KINDS
    )


def _line_of(node: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    line = 1 if node is None else node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """Names that a field at this place may have, read from the schema of the nouns."""
    model: Any = Workload
    for part in location[:-1]:
        if isinstance(part, str) and part in _fields(model):
            model = _model_inside(_fields(model)[part])
    return sorted(_fields(model))


def _fields(model: Any) -> dict[str, Any]:
    if isinstance(model, tuple):
        return {name: kind for one in model for name, kind in _fields(one).items()}
    if isinstance(model, type) and issubclass(model, Noun):
        return {info.alias or name: info.annotation for name, info in model.model_fields.items()}
    return {}


def _model_inside(annotation: Any) -> Any:
    found: list[Any] = []
    pending = [annotation]
    while pending:
        current = pending.pop()
        if isinstance(current, type) and issubclass(current, Noun):
            found.append(current)
        pending.extend(getattr(current, "__args__", ()))
    return found[0] if len(found) == 1 else tuple(found)


def _nearest(given: str, names: list[str]) -> str:
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {_listed(names)}"


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in sorted(names))
