"""What a prediction says: frozen figures for each task, and whether all of them fit."""

from typing import NamedTuple


class Figures(NamedTuple):
    """One task as it is predicted to run; `None` where a figure means nothing or is not known."""

    task: str
    critical: bool
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    utilization: float
    """Of its component, by this task alone."""
    throughput_rps: float
    attainment: float | None
    """Fraction of requests within the SLO; `None` without one."""
    dropped: float
    """Fraction that is rejected, expires or is not run because it would be too late."""
    slowdown: float
    """Service time beside the others over service time alone."""
    binding: str
    """The constraint that is nearest to breaking, or broken furthest."""
    used: float
    """How much of that constraint is used: over 1 it is broken."""
    fits: bool
    culprit: str | None
    """The task with which the load reaches capacity, where it does."""
    method: str
    """The closed form's name, or 'virtual clock'."""


class Prediction(NamedTuple):
    """A whole workload."""

    tasks: tuple[Figures, ...]
    notes: tuple[str, ...]
    """What was not measured and therefore taken as absent."""

    @property
    def fits(self) -> bool:
        return all(one.fits for one in self.tasks)
