"""Rate, pattern and service go in; a `Stream` and the two answers, `Sojourn | Unstable`, come out.

Every model of this room takes streams and gives one answer for each, in the same order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from cotenant.core.errors import WorkloadError
from cotenant.queueing.empirical import Empirical
from cotenant.queueing.law import Law
from cotenant.queueing.service import Service


class Pattern(StrEnum):
    """How the gaps between arrivals vary."""

    POISSON = "poisson"
    PERIODIC = "periodic"


@dataclass(frozen=True)
class Stream:
    """Requests of one task: how often they come and how long each occupies the server."""

    name: str
    rate_rps: float
    service: Service
    pattern: Pattern = Pattern.POISSON

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate_rps) and self.rate_rps > 0.0):
            raise WorkloadError(
                f"stream {self.name!r} has a rate of {self.rate_rps}/s; give one over 0/s"
            )

    @property
    def load(self) -> float:
        """Offered load on one server: rate times mean service time."""
        return self.rate_rps * self.service.mean_s

    @property
    def arrival_scv(self) -> float:
        """Squared coefficient of variation of the gaps between arrivals."""
        return 0.0 if self.pattern is Pattern.PERIODIC else 1.0


class Sojourn(NamedTuple):
    """A stable answer: how long a request of one stream stays."""

    mean_s: float
    waiting_s: float
    """Mean time beyond the service itself."""
    utilization: float
    """Of the server, by all streams that this one feels."""
    law: Law | Empirical | None
    """Distribution of the sojourn time; `None` where only its mean is known."""

    def quantile_s(self, quantile: float) -> float | None:
        return None if self.law is None else self.law.quantile_s(quantile)


class Unstable(NamedTuple):
    """More work arrives than the server can do: queues grow without bound."""

    utilization: float
    culprit: str
    """First stream, in the given order, with which the offered load reaches capacity."""


Answer = Sojourn | Unstable


def overload(streams: Sequence[Stream], servers: int = 1) -> Unstable | None:
    """The answer for a server that cannot keep up; `None` while the load is under capacity.

    >>> from cotenant.queueing.service import deterministic
    >>> pair = [Stream("a", 50.0, deterministic(0.01)), Stream("b", 10.0, deterministic(0.06))]
    >>> overload(pair)
    Unstable(utilization=1.1, culprit='b')
    """
    require_streams(streams)
    load, culprit = 0.0, None
    for stream in streams:
        load += stream.load
        if culprit is None and load >= servers:
            culprit = stream.name
    return None if culprit is None else Unstable(load / servers, culprit)


def require_streams(streams: Sequence[Stream]) -> None:
    if not streams:
        raise WorkloadError("no stream to predict; name at least one task with arrivals")
