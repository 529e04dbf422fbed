"""What a user promises and expects of one recurring source of work: a frozen `Task`.

A workload file is a list of these; the coordinator, the server, the bench and the
predictor all read the same object.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cotenant.core.units import PerSecond, Seconds


class Noun(BaseModel):
    """Base of the nouns that a workload file spells out: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Criticality(StrEnum):
    """The two criticalities."""

    CRITICAL = "critical"
    BEST_EFFORT = "best-effort"


class Slo(Noun):
    """A latency target with the quantile at which it must hold."""

    latency_s: Seconds = Field(alias="latency", gt=0, description="Latency target.")
    quantile: float = Field(
        0.99, gt=0, lt=1, description="Share of requests that must meet the target."
    )


class Periodic(Noun):
    """One request every `1/rate` seconds."""

    kind: Literal["periodic"]
    rate_rps: PerSecond = Field(alias="rate", gt=0)


class Poisson(Noun):
    """Independent exponential gaps with the given mean rate."""

    kind: Literal["poisson"]
    rate_rps: PerSecond = Field(alias="rate", gt=0)


class ClosedLoop(Noun):
    """Each of `clients` sends its next request when the last one is answered."""

    kind: Literal["closed-loop"]
    clients: int = Field(1, ge=1, le=1024)
    think_s: Seconds = Field(0.0, alias="think", ge=0)


class Trace(Noun):
    """Arrival times, in seconds from the start, one per line of a text file."""

    kind: Literal["trace"]
    path: Path


Arrivals = Annotated[Periodic | Poisson | ClosedLoop | Trace, Field(discriminator="kind")]


class OnFull(StrEnum):
    """What a bounded queue does with one request too many."""

    REJECT = "reject"
    DROP_OLDEST = "drop-oldest"


class Queue(Noun):
    """Bounds of a task's waiting room."""

    max_size: int = Field(64, ge=1, le=1_000_000, description="Requests that may wait.")
    on_full: OnFull = Field(OnFull.REJECT, description="Reject the new one or drop the oldest.")
    timeout_s: Seconds | None = Field(
        None, alias="timeout", gt=0, description="Longest wait before a start; none by default."
    )
    priority_levels: int = Field(
        0, ge=0, le=64, description="Levels that a request's own priority may name; 1 is first."
    )
    default_level: int = Field(0, ge=0, le=64, description="Level of requests that name none.")


class Batch(Noun):
    """Limits of dynamic batching; a batch of one means none."""

    max_size: int = Field(1, ge=1, le=4096, description="Rows that may run together.")
    max_delay_s: Seconds = Field(
        0.0, alias="max_delay", ge=0, description="Longest wait for a batch to fill."
    )


class Task(Noun):
    """A recurring source of work: one model, and what is promised about it."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Name that clients ask for."
    )
    model: str = Field(
        description="Path of an ONNX file or of a bundle (a folder or zip that 'cotenant compile' "
        "wrote), 'zoo:NAME', or 'python:PACKAGE/FILE'."
    )
    criticality: Criticality = Criticality.BEST_EFFORT
    priority: int = Field(
        1,
        ge=1,
        le=64,
        description="Larger matters more: share among best-effort tasks, order among critical.",
    )
    slo: Slo | None = None
    slowdown_max: float = Field(
        1.1, ge=1.0, description="Bound on latency beside others over latency alone (critical)."
    )
    deadline_s: Seconds | None = Field(
        None, alias="deadline", gt=0, description="Answers later than this are of no use."
    )
    arrivals: Arrivals | None = Field(None, description="Expected load; for bench and prediction.")
    queue: Queue = Queue()
    batch: Batch = Batch()
    component: str | None = Field(None, description="Component to run on; chosen when absent.")
    width: int | None = Field(None, ge=1, description="Threads to run with; all when absent.")
    segments: int = Field(
        1, ge=1, le=64, description="Parts to cut the model into, so that it can be paused between."
    )

    @property
    def critical(self) -> bool:
        return self.criticality is Criticality.CRITICAL
