"""Mixes, policies and a profile go in; forecasts, then measurements of real servers, come out.

Two mixes are up at a time, and their windows take turns: A, B, then A, B again in another
order, each on a server of its own that has loaded its models once. All forecasts of a pair are
on disk before its first server starts. The two windows of a mix draw arrivals of their own, as
two days of one deployment would: how far they differ is what nobody can predict.

A mix that fails (a server that does not start, a generator that dies) is written down as a
failure, and the rest goes on.
"""

import contextlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cotenant.bench.load import LoadGenerator, LoadPlan
from cotenant.bench.mixed import Sink, load_of, service_means
from cotenant.bench.mixes import DrawnMix
from cotenant.bench.predictors import PREDICTORS, Predictor
from cotenant.bench.records import Failure, Line, Observation, Phase
from cotenant.bench.servers import HOST, SERVE, Server
from cotenant.core.errors import CotenantError
from cotenant.core.workload import Workload
from cotenant.profiling.profile import Profile

ROUNDS = 2
UP_AT_A_TIME = 2
_DRAIN_S = 30.0


class Windows(NamedTuple):
    """How long each mix is measured, and from which seed its arrivals are drawn."""

    seconds_s: float
    warm_up_s: float
    seed: int


class Step(NamedTuple):
    """What is about to happen, for whoever watches."""

    doing: str
    seconds_s: float
    """0 for what is not a window."""


class PredictionRun:
    """All mixes from start to end."""

    def __init__(
        self,
        mixes: Sequence[DrawnMix],
        policies: Sequence[str],
        profile: Mapping[str, Profile],
        windows: Windows,
        *,
        sink: Sink,
        folder: Path,
        announce: Callable[[Step], None] = lambda step: None,
        predictors: Mapping[str, Predictor] = PREDICTORS,
        program: Sequence[str] = SERVE,
    ) -> None:
        """`profile` by policy."""
        self._mixes = tuple(mixes)
        self._policies = tuple(policies)
        self._profile = profile
        self._windows = windows
        self._sink = sink
        self._folder = folder
        self._announce = announce
        self._predictors = predictors
        self._program = program
        self._generator: LoadGenerator | None = None

    def run(self) -> None:
        """Predict and measure pair after pair."""
        try:
            for first in range(0, len(self._mixes), UP_AT_A_TIME):
                self._run_pair(self._mixes[first : first + UP_AT_A_TIME])
        finally:
            self._end_generator()

    def _run_pair(self, pair: Sequence[DrawnMix]) -> None:
        tenants = [
            mix.workload.model_copy(update={"policy": policy})
            for mix in pair
            for policy in self._policies
        ]
        for workload in tenants:
            self._announce(Step(f"{workload.name}, {workload.policy}: predicting", 0.0))
            self._attempt(workload, partial(self._predict, workload))
        with contextlib.ExitStack() as stack:
            servers: dict[tuple[str, str], Server] = {}
            for workload in tenants:
                self._announce(Step(f"{workload.name}, {workload.policy}: starting", 0.0))
                self._attempt(workload, partial(self._start, workload, servers, stack))
            for number in range(ROUNDS):
                order = self._rng("order", pair[0].workload.name, str(number))
                for place in order.permutation(len(tenants)):
                    self._visit(tenants[place], servers, number)

    def _predict(self, workload: Workload) -> None:
        for predictor in self._predictors.values():
            self._sink.write(predictor(workload, self._profile[workload.policy]))

    def _start(
        self,
        workload: Workload,
        servers: dict[tuple[str, str], Server],
        stack: contextlib.ExitStack,
    ) -> None:
        with contextlib.ExitStack() as started:
            server = started.enter_context(
                Server(workload, workload.policy, self._folder, self._program)
            )
            server.wait_ready()
            servers[workload.name, workload.policy] = server
            stack.push(started.pop_all())

    def _visit(
        self, workload: Workload, servers: Mapping[tuple[str, str], Server], number: int
    ) -> None:
        server = servers.get((workload.name, workload.policy))
        windows = self._windows
        self._announce(
            Step(
                f"{workload.name}, {workload.policy}: window {number + 1}",
                windows.seconds_s + windows.warm_up_s,
            )
        )
        if server is not None:
            self._attempt(
                workload,
                lambda: self._sink.write(self._measure(workload, server, number)),
            )

    def _measure(self, workload: Workload, server: Server, number: int) -> list[Line]:
        windows = self._windows
        before = {task.name: server.inference_time(task.name) for task in workload.tasks}
        horizon_s = windows.warm_up_s + windows.seconds_s
        plan = LoadPlan(
            host=HOST,
            port=server.port,
            seed=windows.seed,
            warm_up_s=windows.warm_up_s,
            seconds_s=windows.seconds_s,
            drain_s=_DRAIN_S,
            loads=tuple(
                load_of(task, horizon_s, self._rng(workload.name, str(number), task.name))
                for task in workload.tasks
            ),
        )
        driven = self._ready_generator().drive(plan)
        place = (workload.name, workload.policy, number)
        start_s = driven.start_s + windows.warm_up_s
        phase = Phase(
            *place,
            tasks=tuple(task.name for task in workload.tasks),
            warm_up_from_s=driven.start_s,
            start_s=start_s,
            end_s=start_s + windows.seconds_s,
            service_s=service_means(before, server),
        )
        return [phase, *(Observation(*place, **seen._asdict()) for seen in driven.seen)]

    def _attempt(self, workload: Workload, action: Callable[[], None]) -> None:
        try:
            action()
        except (CotenantError, OSError, ValueError) as error:
            self._end_generator()  # a plan may still be under way in it
            self._sink.write([Failure(workload.name, workload.policy, str(error))])

    def _ready_generator(self) -> LoadGenerator:
        if self._generator is None:
            self._generator = LoadGenerator()
        return self._generator

    def _end_generator(self) -> None:
        if self._generator is not None:
            self._generator.close()
            self._generator = None

    def _rng(self, *names: str) -> np.random.Generator:
        return np.random.default_rng(
            [self._windows.seed, *(zlib.crc32(name.encode()) for name in names)]
        )


def total_seconds_s(mixes: int, policies: int, windows: Windows) -> float:
    """What all windows take together."""
    return mixes * policies * ROUNDS * (windows.seconds_s + windows.warm_up_s)


def described(mixes: Sequence[DrawnMix]) -> Iterator[dict[str, object]]:
    """The mixes as the header of the records has them."""
    for mix in mixes:
        yield {
            "name": mix.workload.name,
            "seed": list(mix.seed),
            "utilization": mix.utilization,
            "tasks": [
                task.model_dump(
                    mode="json", include={"name", "model", "criticality", "slo", "arrivals"}
                )
                for task in mix.workload.tasks
            ],
        }
