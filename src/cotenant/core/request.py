"""One arrival of a task's work, and how it is answered."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy.typing as npt

from cotenant.core.errors import CotenantError
from cotenant.core.record import Record

Tensor = npt.NDArray[Any]
Tensors = Mapping[str, Tensor]


class Request(NamedTuple):
    """One arrival. Times are absolute, in seconds on the coordinator's clock."""

    id: int
    task: str
    arrival_s: float
    expires_s: float | None = None
    """It must have started by then (queue timeout)."""
    deadline_s: float | None = None
    """It must have ended by then."""
    level: int = 0
    """Place among the requests of its own task: 1 first; 0 means the task's default."""
    rows: int = 1
    """How much of a batch it fills."""
    inputs: Tensors | None = None
    """Tensors by name; `None` in a simulation."""


class Answer(NamedTuple):
    """What a request gets, exactly once: outputs or an error, never both."""

    request: Request
    record: Record
    outputs: Tensors | None
    error: CotenantError | None


def batch_key(inputs: Tensors) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Requests with equal keys may run in one batch: same names, types, and shapes past axis 0.

    >>> import numpy as np
    >>> batch_key({"x": np.zeros((2, 3), np.float32)})
    (('x', 'float32', (3,)),)
    """
    return tuple((name, str(array.dtype), array.shape[1:]) for name, array in inputs.items())
