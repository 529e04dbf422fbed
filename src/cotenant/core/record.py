"""The life of one request as numbers: what every report, guard and profile reads."""

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """How a request ended."""

    OK = "ok"
    REJECTED = "rejected"
    """Its queue was full, or the server was shutting down."""
    DROPPED = "dropped"
    """It was the oldest in a full queue that drops the oldest."""
    TIMED_OUT = "timed-out"
    """It waited past its queue timeout."""
    HOPELESS = "hopeless"
    """It could no longer meet its deadline and was not executed."""
    CANCELLED = "cancelled"
    """The client went away."""
    FAILED = "failed"
    """The inference failed or its interpreter died."""


class Record(NamedTuple):
    """One request from arrival to end. Times are absolute, in seconds on one clock."""

    id: int
    task: str
    critical: bool
    outcome: Outcome
    arrival_s: float
    start_s: float | None
    """Start of its first segment; `None` if it never ran."""
    end_s: float
    component: str | None
    width: int | None
    batch: int
    """Requests that ran together with it, itself included; 0 if it never ran."""
    segments: tuple[tuple[float, float], ...]
    """Start and end of each segment that ran."""
    alone: bool
    """Nothing of another task ran beside any part of it."""
    rows: int = 1
    """Rows of a batch that it filled."""
    batch_rows: int = 0
    """Rows of all that ran together with it, its own included; 0 if it never ran."""
    output_s: float = 0.0
    """Seconds from `end_s` until its outputs had been taken out of the lane."""

    @property
    def sojourn_s(self) -> float:
        return self.end_s - self.arrival_s

    @property
    def waiting_s(self) -> float:
        return (self.end_s if self.start_s is None else self.start_s) - self.arrival_s

    @property
    def service_s(self) -> float | None:
        return None if self.start_s is None else self.end_s - self.start_s
