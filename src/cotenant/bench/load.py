"""A frozen plan of load goes through a pipe to an interpreter of its own; observations return.

The generator is a separate interpreter so that neither the report's arithmetic nor a
progress bar can hold up a request that is due.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from cotenant.core.errors import ExecutionError
from cotenant.core.record import Outcome


class TaskLoad(NamedTuple):
    """What one task is given: a schedule (open loop) or a number of clients (closed loop)."""

    task: str
    offsets_s: tuple[float, ...] | None
    """Times after the start of the warm-up; `None` in a closed loop."""
    clients: int = 0
    think_s: float = 0.0


class LoadPlan(NamedTuple):
    """One phase of load on one server."""

    host: str
    port: int
    seed: int
    warm_up_s: float
    seconds_s: float
    drain_s: float
    """How long to wait for answers after the last request was due."""
    loads: tuple[TaskLoad, ...]
    in_turns: bool = False
    """The clients of closed loops ask all tasks in turns, each as soon as the last has answered."""


class Seen(NamedTuple):
    """One request as the generator saw it; times on CLOCK_MONOTONIC."""

    task: str
    scheduled_s: float
    sent_s: float | None
    end_s: float
    status: int | None
    outcome: Outcome


class Driven(NamedTuple):
    """What came of a plan."""

    start_s: float
    """Start of the warm-up."""
    seen: tuple[Seen, ...]


class LoadGenerator:
    """The parent's end of the pipe; one interpreter serves many plans."""

    def __init__(self, cores: Sequence[int] = ()) -> None:
        """`cores` that it keeps to; those of this thread where absent."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "cotenant.bench.generator", *map(str, cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self.standing: str = self._receive()["standing"]
        """Scheduling class that the generator was able to take."""

    @property
    def pid(self) -> int:
        return self._child.pid

    def drive(self, plan: LoadPlan, watch: Callable[[Seen], None] | None = None) -> Driven:
        """Run a plan to its end; `watch` sees each request as soon as it has ended.

        Raises:
            ExecutionError: when the generator cannot begin (a model that is not there).
        """
        assert self._child.stdin is not None
        self._child.stdin.write(orjson.dumps(plan._asdict() | {"loads": _rows(plan)}) + b"\n")
        self._child.stdin.flush()
        seen: list[Seen] = []
        start_s = float(self._receive()["start_s"])
        while True:
            message = self._receive()
            if isinstance(message, dict):
                return Driven(start_s, tuple(seen))
            *fields, outcome = message
            one = Seen._make((*fields, Outcome(outcome)))
            seen.append(one)
            if watch is not None:
                watch(one)

    def close(self) -> None:
        """End the interpreter; a plan that is under way is broken off."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> "LoadGenerator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _receive(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise ExecutionError(
                f"the load generator ended with code {self._child.wait()}; its message stands above"
            )
        message = orjson.loads(line)
        if isinstance(message, dict) and "error" in message:
            raise ExecutionError(f"the load generator could not begin: {message['error']}")
        return message


def _rows(plan: LoadPlan) -> list[dict[str, Any]]:
    return [load._asdict() for load in plan.loads]
