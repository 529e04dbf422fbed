"""A task goes in; what a profile knows it by comes out: its graph, not its name or its weights."""

import hashlib
from functools import lru_cache
from pathlib import Path

from cotenant.core.hardware import allowed_cores
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.graph.load import resolve_model
from cotenant.graph.read import read_model
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


def graph_hash(reference: str) -> str:
    """SHA-256 of a model's graph and of the shapes of its weights.

    The values of large weights do not count: they do not change how long it takes, and a
    model that was trained further keeps its profile.
    """
    path = _path_of(reference)
    try:
        stat = path.stat()
    except OSError:
        read_model(path)  # says what is wrong
        raise
    return _hashed(path, stat.st_size, stat.st_mtime_ns)


def _path_of(reference: str) -> Path:
    if not reference.startswith("zoo:"):
        return resolve_model(reference)
    path = _zoo_path(reference)
    return path if path.exists() else resolve_model(reference)


@lru_cache(maxsize=256)
def _zoo_path(reference: str) -> Path:
    """A network of the zoo is read whole to be found, since its file may be damaged."""
    return resolve_model(reference)


@lru_cache(maxsize=256)
def _hashed(path: Path, size_bytes: int, changed_ns: int) -> str:
    skeleton = read_model(path)
    digest = hashlib.sha256(skeleton.model.SerializeToString(deterministic=True))
    for payload in skeleton.payloads:
        digest.update(payload.tensor.SerializeToString(deterministic=True))
    return digest.hexdigest()
