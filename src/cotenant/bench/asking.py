"""A server and tasks go in; how long each takes to answer a client who asks nothing else comes out.

One client, one request at a time: with pauses so long that the machine falls asleep, back to back,
or all tasks in turns, so that each finds the caches that another one has left. Or many clients of
one task, who do not wait for each other.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

import numpy as np

from cotenant.bench.load import LoadGenerator, LoadPlan, TaskLoad
from cotenant.bench.servers import HOST, Server
from cotenant.core.record import Outcome
from cotenant.profiling.cooling import BRIEF_S
from cotenant.profiling.profile import LONG_PAUSE_S, OPEN_LOAD, PAUSE_S

_DRAIN_S = 30.0


class Rhythm(Enum):
    """When the client asks again."""

    CALM = auto()
    """It pauses after each answer ..."""
    BRIEF = auto()
    """... briefly ..."""
    RESTED = auto()
    """... or for long."""
    BACK_TO_BACK = auto()
    IN_TURNS = auto()
    """Back to back, but each time the next task."""
    OPEN = auto()
    """Whether or not earlier ones have been answered, at random."""


PAUSES_S = {
    Rhythm.CALM: PAUSE_S,
    Rhythm.BRIEF: BRIEF_S,
    Rhythm.RESTED: LONG_PAUSE_S,
    Rhythm.BACK_TO_BACK: 0.0,
}
"""After each answer, of a client that asks one task alone."""
_WARM_UP, _WARM_UP_RESTED = 3, 1


def warm_up(rhythm: Rhythm) -> int:
    """How many of the first requests do not count; after long rests each is like the next."""
    return _WARM_UP_RESTED if rhythm is Rhythm.RESTED else _WARM_UP


class Asker(NamedTuple):
    """Whom to ask, and by whom."""

    server: Server
    generator: LoadGenerator
    seed: int

    def alone(self, task: str, expected_s: float, requests: int, rhythm: Rhythm) -> list[float]:
        """Latencies in the order of sending; with pauses or back to back.

        Args:
            expected_s: how long each will take; if so, there are as many as were asked for.
        """
        gap_s = PAUSES_S[rhythm]
        plan = self._plan(requests * (expected_s + gap_s), TaskLoad(task, None, 1, gap_s))
        return self._latencies_s(plan)[task]

    def in_turns(self, expected_s: Mapping[str, float], rounds: int) -> dict[str, list[float]]:
        """The same of several tasks, each after the one before it; by task."""
        loads = [TaskLoad(task, None) for task in expected_s]
        loads[0] = loads[0]._replace(clients=1)
        plan = self._plan(rounds * sum(expected_s.values()), *loads)
        return self._latencies_s(plan._replace(in_turns=True))

    def openly(self, task: str, expected_s: float, requests: int) -> list[float]:
        """Latencies of so many Poisson arrivals, counted from when each was due."""
        rng = np.random.default_rng(self.seed)
        offsets_s = tuple(np.cumsum(rng.exponential(expected_s / OPEN_LOAD, requests)).tolist())
        return self._latencies_s(self._plan(float(offsets_s[-1]), TaskLoad(task, offsets_s)))[task]

    def _plan(self, seconds_s: float, *loads: TaskLoad) -> LoadPlan:
        return LoadPlan(HOST, self.server.port, self.seed, 0.0, seconds_s, _DRAIN_S, loads)

    def _latencies_s(self, plan: LoadPlan) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {load.task: [] for load in plan.loads}
        for one in self.generator.drive(plan).seen:
            if one.outcome is Outcome.OK:
                found[one.task].append(one.end_s - one.scheduled_s)
        return found
