"""What a run has seen goes in line by line; `records.jsonl` is the only thing reports read.

The first line is the header. Every other line is one of the nouns of `Line`, told apart by
its `kind`. A phase is written with all of its observations once
it has ended, so a run that was broken off leaves only whole phases behind.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import orjson

from cotenant.core.errors import WorkloadError
from cotenant.core.record import Outcome

ALONE = "alone"
"""Stands in place of the policy where a task was measured with nothing beside it."""


class Phase(NamedTuple):
    """One stretch of load on one server; times are absolute, on CLOCK_MONOTONIC."""

    scenario: str
    policy: str
    """Or `ALONE`."""
    round: int
    tasks: tuple[str, ...]
    """The tasks that were given load."""
    warm_up_from_s: float
    start_s: float
    """Requests due from here on count; those before it are warm-up."""
    end_s: float
    service_s: dict[str, float]
    """Mean time inside the model as the server's statistics tell it, where they do."""


class Observation(NamedTuple):
    """One request as its client saw it; times are absolute, on CLOCK_MONOTONIC."""

    scenario: str
    policy: str
    round: int
    task: str
    scheduled_s: float
    """When it was due."""
    sent_s: float | None
    """When it was written; `None` if no connection ever took it."""
    end_s: float
    status: int | None
    """HTTP status; `None` if no answer came."""
    outcome: Outcome

    @property
    def latency_s(self) -> float:
        """From the time it was due, never from the time it was sent."""
        return self.end_s - self.scheduled_s


class Memory(NamedTuple):
    """Resident memory of a server and everything it started."""

    scenario: str
    policy: str
    round: int
    time_s: float
    rss_bytes: int


class Kill(NamedTuple):
    """One `kill -9` of a lane."""

    scenario: str
    policy: str
    round: int
    task: str
    time_s: float
    pid: int
    back_s: float | None
    """When the lane was ready again; `None` if the phase ended first."""
    restarts: int | None
    """The server's own count, once it was back."""


class Forecast(NamedTuple):
    """What one predictor says of one task, before it is measured; `None` where it says nothing."""

    scenario: str
    policy: str
    predictor: str
    task: str
    mean_s: float | None
    p95_s: float | None
    p99_s: float | None
    attainment: float | None
    fits: bool
    method: str
    round: int = 0
    """The window that it was made for."""


class Anchor(NamedTuple):
    """What the tasks of a mix took alone before a window, over what the profile says.

    By task: its service with pauses, with long ones, back to back, after others, and openly;
    then what its client waited beyond it, and the processor time of the server's front.
    """

    scenario: str
    policy: str
    round: int
    calm: dict[str, float]
    rested: dict[str, float]
    warm: dict[str, float]
    after_another: dict[str, float]
    openly: dict[str, float]
    front: dict[str, float]
    warm_front: dict[str, float]
    open_front: dict[str, float]
    front_busy: dict[str, float]


class Luck(NamedTuple):
    """How wrong the own forecast would be found to be in such windows if its model were right.

    Mean |forecast - window| / window.
    """

    scenario: str
    policy: str
    task: str
    mean: float
    p95: float
    p99: float


class Failure(NamedTuple):
    """A part of a run that could not be done; the rest goes on without it."""

    scenario: str
    policy: str
    reason: str


class Pause(NamedTuple):
    """One pause of best-effort work on an elastic device, as the server tells it."""

    scenario: str
    policy: str
    round: int
    pause_s: float
    """From the flag until the device was free."""


Line = Phase | Observation | Memory | Kill | Pause | Forecast | Luck | Anchor | Failure
_KINDS = {
    "phase": Phase,
    "request": Observation,
    "memory": Memory,
    "kill": Kill,
    "pause": Pause,
    "forecast": Forecast,
    "luck": Luck,
    "anchor": Anchor,
    "failure": Failure,
}
_NAMES = {noun: kind for kind, noun in _KINDS.items()}


class Records(NamedTuple):
    """A whole file."""

    header: dict[str, Any]
    phases: tuple[Phase, ...]
    observations: tuple[Observation, ...]
    memory: tuple[Memory, ...]
    kills: tuple[Kill, ...]
    pauses: tuple[Pause, ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    failures: tuple[Failure, ...] = ()
    anchors: tuple[Anchor, ...] = ()
    luck: tuple[Luck, ...] = ()


class RecordWriter:
    """Appends to `records.jsonl`; each phase reaches the file as a whole."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8")
        self._put({"kind": "header"} | header)

    def write(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._put({"kind": _NAMES[type(line)]} | line._asdict())
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _put(self, fields: dict[str, Any]) -> None:
        self._file.write(orjson.dumps(fields).decode() + "\n")


def read_records(path: Path) -> Records:
    """Read a file back.

    Raises:
        WorkloadError: when it is not such a file; the message names the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise WorkloadError(
            f"cannot read {str(path)!r}: {error.strerror}; run the bench first"
        ) from error
    found: dict[type, list[Any]] = {noun: [] for noun in _NAMES}
    header: dict[str, Any] | None = None
    for number, line in enumerate(lines, start=1):
        try:
            fields = orjson.loads(line)
            kind = fields.pop("kind")
            if kind == "header":
                header = fields
            else:
                noun = _KINDS[kind]
                found[noun].append(_complete(noun(**fields)))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise WorkloadError(
                f"{path}:{number}: not a line of records ({error}); run the bench again"
            ) from error
    if header is None:
        raise WorkloadError(f"{path}: no header line; run the bench again")
    return Records(
        header,
        tuple(found[Phase]),
        tuple(found[Observation]),
        tuple(found[Memory]),
        tuple(found[Kill]),
        tuple(found[Pause]),
        tuple(found[Forecast]),
        tuple(found[Failure]),
        tuple(found[Anchor]),
        tuple(found[Luck]),
    )


def suite_of(path: Path) -> str | None:
    """The suite that a file of records belongs to, read from its first line alone."""
    try:
        with path.open("rb") as file:
            fields = orjson.loads(file.readline())
    except (OSError, orjson.JSONDecodeError):
        return None  # reading the whole file will say what is wrong, and where
    return fields.get("suite") if isinstance(fields, dict) else None


def _complete(line: Line) -> Line:
    if isinstance(line, Observation):
        return line._replace(outcome=Outcome(line.outcome))
    return line._replace(tasks=tuple(line.tasks)) if isinstance(line, Phase) else line
