"""Scenarios and policies go in, interleaved phases run on real servers, records come out.

One server per policy is started once and kept, since starting one heats and fills the
machine; idle servers are given no load. Each round visits, in an order drawn anew, every
task alone and every policy with the whole mix, so that a machine that drifts during the
run drifts through all of them alike. Within a round all phases share one schedule of
arrivals: what differs between two policies is not the luck of the draw.
"""

import contextlib
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from cotenant.bench.load import Driven, LoadGenerator, LoadPlan, Seen, TaskLoad
from cotenant.bench.records import (
    ALONE,
    Kill,
    Line,
    Memory,
    Observation,
    Pause,
    Phase,
)
from cotenant.bench.scenarios import Scenario
from cotenant.bench.servers import HOST, SERVE, Server, later_pauses
from cotenant.bench.watchers import LaneKill, MemorySample, killed_lane, sampled_memory
from cotenant.core.arrivals import draw_arrivals
from cotenant.core.errors import ExecutionError
from cotenant.core.record import Outcome
from cotenant.core.task import ClosedLoop, Poisson, Task

OWN_POLICY = "cotenant"
_DRAIN_S = 60.0  # a full queue of a slow model may take that long; no one waits without cause
_KILL_GAP_S = 3.0


class Settings(NamedTuple):
    """How long and how often."""

    rounds: int
    seconds_s: float
    warm_up_s: float
    seed: int


class Visit(NamedTuple):
    """One phase of a round that is still to come."""

    policy: str
    """Or `ALONE`."""
    tasks: tuple[Task, ...]
    seconds_s: float

    @property
    def name(self) -> str:
        return f"alone:{self.tasks[0].name}" if self.policy == ALONE else self.policy


Announce = Callable[[Scenario, int, Visit], contextlib.AbstractContextManager[object]]
"""Wraps each visit, so that whoever watches knows what runs."""


def visits_of_round(scenario: Scenario, settings: Settings, round_number: int) -> tuple[Visit, ...]:
    """The phases of one round, in the order in which they run."""
    seconds_s = _phase_seconds_s(scenario, settings)
    alone = [Visit(ALONE, (task,), settings.seconds_s) for task in scenario.workload.tasks]
    mixed = [Visit(policy, scenario.workload.tasks, seconds_s) for policy in scenario.policies]
    rng = _rng(settings.seed, scenario.name, str(round_number))
    if scenario.overload is not None:  # the rate to offer follows from the rate alone
        return tuple(alone + [mixed[place] for place in rng.permutation(len(mixed))])
    everything = alone + mixed
    return tuple(everything[place] for place in rng.permutation(len(everything)))


class Sink(Protocol):
    """Takes the records of each phase when it has ended."""

    def write(self, lines: Iterable[Line]) -> None: ...


class Setting(NamedTuple):
    """Where a suite runs: everything but the scenario."""

    settings: Settings
    generator: LoadGenerator
    sink: Sink
    folder: Path
    """Where the servers' logs and workload files go."""
    announce: Announce
    watch: Callable[[Seen], None] | None = None
    """Sees each request as it ends."""
    program: Sequence[str] = SERVE
    together: bool = True
    """Whether the servers of all policies are up for the whole scenario; else one at a time."""


class ScenarioRun:
    """One scenario from start to end."""

    def __init__(self, scenario: Scenario, setting: Setting) -> None:
        self._scenario = scenario
        self._setting = setting
        self._alone_rps: dict[str, list[float]] = {}

    def run(self) -> None:
        """Start the servers, run all rounds, stop the servers."""
        setting = self._setting
        with contextlib.ExitStack() as stack:
            servers: dict[str, Server] = {}
            if setting.together:
                servers = stack.enter_context(
                    started(self._scenario, setting.folder, setting.program)
                )
            for round_number in range(setting.settings.rounds):
                for visit in visits_of_round(self._scenario, setting.settings, round_number):
                    policy = OWN_POLICY if visit.policy == ALONE else visit.policy
                    with (
                        setting.announce(self._scenario, round_number, visit),
                        self._server(policy, servers) as server,
                    ):
                        lines = self._visit(round_number, visit, server)
                    setting.sink.write(lines)

    @contextlib.contextmanager
    def _server(self, policy: str, servers: dict[str, Server]) -> Iterator[Server]:
        """The server that is up already, or one for this visit alone."""
        if policy in servers:
            yield servers[policy]
            return
        setting = self._setting
        with Server(self._scenario.workload, policy, setting.folder, setting.program) as server:
            server.wait_ready()
            yield server

    def _visit(self, round_number: int, visit: Visit, server: Server) -> list[Line]:
        warm_up_s = self._setting.settings.warm_up_s
        before = {task.name: server.inference_time(task.name) for task in visit.tasks}
        plan = self._plan(round_number, visit, server)
        pauses = server.pauses()
        with self._watched(visit, server) as (samples, killed):
            driven = self._setting.generator.drive(plan, self._setting.watch)
        if visit.policy == ALONE and self._is_offered(visit.tasks[0]):
            self._note_rate_alone(visit.tasks[0].name, driven)
        place = (self._scenario.name, visit.policy, round_number)
        phase = Phase(
            *place,
            tasks=tuple(task.name for task in visit.tasks),
            warm_up_from_s=driven.start_s,
            start_s=driven.start_s + warm_up_s,
            end_s=driven.start_s + warm_up_s + visit.seconds_s,
            service_s=service_means(before, server),
        )
        return [
            phase,
            *(Observation(*place, **seen._asdict()) for seen in driven.seen),
            *(Memory(*place, **sample._asdict()) for sample in samples),
            *(Kill(*place, **kill._asdict()) for kill in killed),
            *(Pause(*place, pause_s) for pause_s in later_pauses(pauses, server.pauses())),
        ]

    def _plan(self, round_number: int, visit: Visit, server: Server) -> LoadPlan:
        settings = self._setting.settings
        horizon_s = settings.warm_up_s + visit.seconds_s
        loads = []
        for task in visit.tasks:
            rng = _rng(settings.seed, self._scenario.name, str(round_number), task.name)
            loads.append(load_of(task, horizon_s, rng, self._offered_rps(visit, task)))
        return LoadPlan(
            host=HOST,
            port=server.port,
            seed=settings.seed,
            warm_up_s=settings.warm_up_s,
            seconds_s=visit.seconds_s,
            drain_s=_DRAIN_S,
            loads=tuple(loads),
        )

    def _offered_rps(self, visit: Visit, task: Task) -> float | None:
        if visit.policy == ALONE or self._scenario.overload is None or task.critical:
            return None
        return self._scenario.overload * float(np.mean(self._alone_rps[task.name]))

    def _is_offered(self, task: Task) -> bool:
        """Whether its load in the mix follows from its rate alone."""
        return self._scenario.overload is not None and not task.critical

    def _note_rate_alone(self, task: str, driven: Driven) -> None:
        ended_s = [one.end_s for one in driven.seen if one.outcome is Outcome.OK]
        if not ended_s:
            raise ExecutionError(
                f"task {task!r} answered nothing while it was alone; "
                f"read the server's log in {str(self._setting.folder)!r}"
            )
        rate_rps = len(ended_s) / (max(ended_s) - driven.start_s)
        self._alone_rps.setdefault(task, []).append(rate_rps)

    @contextlib.contextmanager
    def _watched(
        self, visit: Visit, server: Server
    ) -> Iterator[tuple[list[MemorySample], list[LaneKill]]]:
        with contextlib.ExitStack() as stack:
            samples: list[MemorySample] = []
            killed: list[LaneKill] = []
            if visit.policy != ALONE:
                samples = stack.enter_context(sampled_memory(server))
                if self._scenario.kills:
                    kills = _kills_per_round(self._scenario, self._setting.settings)
                    task = self._scenario.best_effort[0].name
                    killed = stack.enter_context(killed_lane(server, task, kills, _KILL_GAP_S))
            yield samples, killed


@contextlib.contextmanager
def started(
    scenario: Scenario, folder: Path, program: Sequence[str] = SERVE
) -> Iterator[dict[str, Server]]:
    """Servers by policy, all ready; one under the own policy is always there, for `alone`."""
    with contextlib.ExitStack() as stack:
        servers: dict[str, Server] = {}
        for policy in dict.fromkeys((OWN_POLICY, *scenario.policies)):
            servers[policy] = stack.enter_context(
                Server(scenario.workload, policy, folder, program)
            )
            servers[policy].wait_ready()
        yield servers


def round_seconds_s(scenario: Scenario, settings: Settings) -> float:
    """What one round of a scenario takes, warm-up included."""
    return sum(
        settings.warm_up_s + visit.seconds_s for visit in visits_of_round(scenario, settings, 0)
    )


def load_of(
    task: Task, horizon_s: float, rng: np.random.Generator, offered_rps: float | None = None
) -> TaskLoad:
    """What the generator is to send for a task; `offered_rps` replaces its own arrivals."""
    arrivals = task.arrivals or ClosedLoop(kind="closed-loop")
    if offered_rps is not None:
        arrivals = Poisson(kind="poisson", rate_rps=offered_rps)
    if isinstance(arrivals, ClosedLoop):
        return TaskLoad(task.name, None, arrivals.clients, arrivals.think_s)
    return TaskLoad(task.name, tuple(draw_arrivals(arrivals, horizon_s, rng).tolist()))


def _phase_seconds_s(scenario: Scenario, settings: Settings) -> float:
    if scenario.kills:
        return (_kills_per_round(scenario, settings) + 1) * _KILL_GAP_S
    return max(scenario.seconds_s or 0.0, settings.seconds_s)


def _kills_per_round(scenario: Scenario, settings: Settings) -> int:
    return math.ceil(scenario.kills / settings.rounds)


def service_means(
    before: Mapping[str, tuple[int, float] | None], server: Server
) -> dict[str, float]:
    """Mean time inside the model during the phase, for tasks with statistics."""
    means = {}
    for task, earlier in before.items():
        later = server.inference_time(task)
        if earlier is not None and later is not None and later[0] > earlier[0]:
            means[task] = (later[1] - earlier[1]) / (later[0] - earlier[0])
    return means


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])
