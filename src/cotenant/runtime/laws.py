"""Service laws of tasks and a generator of random numbers go in; drawn service times come out.

A law gives the seconds of one request at full width with nothing beside it. Times are drawn
in blocks: one call of the generator for many requests.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cotenant.core.arrivals import block_sizes
from cotenant.core.errors import WorkloadError
from cotenant.core.task import Task
from cotenant.device.null import ServiceTime

Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]
"""A generator and a count go in, so many independent service times come out."""


@dataclass(frozen=True)
class ServiceLaw:
    """How long a request of one task takes alone."""

    draw: Draw
    row_share: float = 1.0
    """What each further row of a batch adds, as a share of the first row's time."""
    by_segment: Draw | None = None
    """Draws times [request, segment]; `None` divides what `draw` gives into equal parts."""


def gamma_law(mean_s: float, cv: float = 0.0, row_share: float = 1.0) -> ServiceLaw:
    """Gamma with this mean and coefficient of variation; always the mean for a variation of 0.

    >>> gamma_law(0.04).draw(np.random.default_rng(1), 2).tolist()
    [0.04, 0.04]
    """
    if not (math.isfinite(mean_s) and mean_s > 0.0):
        raise WorkloadError(f"a mean service time of {mean_s} s is impossible; give one over 0 s")
    if not (math.isfinite(cv) and cv >= 0.0):
        raise WorkloadError(f"a coefficient of variation of {cv} is impossible; give one >= 0")
    if cv == 0.0:
        return ServiceLaw(lambda rng, count: np.full(count, mean_s), row_share)
    shape = cv**-2
    return ServiceLaw(lambda rng, count: rng.gamma(shape, mean_s / shape, count), row_share)


def drawn(
    laws: Mapping[str, ServiceLaw], tasks: Iterable[Task], rng: np.random.Generator
) -> ServiceTime:
    """Service times for `device/null`; each task has a generator of its own.

    A task that is cut into segments draws each one's time, if its law knows them; else it takes
    an equal part of its drawn time in each.

    Raises:
        WorkloadError: a task has no law.
    """
    sources = {}
    for task, own_rng in zip(tasks := tuple(tasks), rng.spawn(len(tasks)), strict=True):
        if task.name not in laws:
            raise WorkloadError(
                f"no service time for task {task.name!r}; give one, there is "
                f"{', '.join(map(repr, sorted(laws))) or 'none'}"
            )
        law = laws[task.name]
        sources[task.name] = _Source(_endless(_split(law, task.segments), own_rng), law.row_share)

    def service(task: str, rows: int, segment: int) -> float:
        return sources[task].segment_s(rows, segment)

    return service


def _split(law: ServiceLaw, segments: int) -> Draw:
    """Draws times [request, segment]."""
    if law.by_segment is not None and segments > 1:
        return law.by_segment

    def equal(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
        return np.repeat(law.draw(rng, count)[:, None] / segments, segments, axis=1)

    return equal


def _endless(draw: Draw, rng: np.random.Generator) -> Iterator[Sequence[float]]:
    return itertools.chain.from_iterable(draw(rng, size).tolist() for size in block_sizes())


class _Source:
    """The service times of one task, one after the other."""

    def __init__(self, times_s: Iterator[Sequence[float]], row_share: float) -> None:
        self._times_s = times_s
        self._row_share = row_share
        self._parts_s: Sequence[float] = ()
        """Of the request that is served now."""

    def segment_s(self, rows: int, segment: int) -> float:
        if segment == 0:
            self._parts_s = next(self._times_s)
        return self._parts_s[segment] * (1.0 + self._row_share * (rows - 1))
