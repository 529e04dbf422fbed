"""Mixes, policies and a profile go in; forecasts, then measurements of real servers, come out.

First of all every mix is looked at: its server starts, and each of its tasks is asked alone, to
correct the profile (`bench/anchor.py`). What all looks say together makes the forecasts, and all of
them are on disk before anything is measured.

Then mixes are measured in rounds: one window of each, in another order every time, and each on a
server that has just loaded its models. So the windows of one mix are half an hour or more apart:
a machine that others share is slow for minutes, and a mix whose windows follow each other would be
measured on that machine alone. Every window draws arrivals of its own, as days of one deployment
would. All are written down; which of them count is for the report to say (`bench/steady.py`).

Each server keeps its own records, in `served-MIX-POLICY-ROUND.jsonl`, as it does when its front is
measured: they cost a little, and tell where the time of a request went when a forecast is wrong.

What fails (a server that does not start, a generator that dies) is written down as a failure, and
the rest goes on.
"""

import contextlib
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cotenant.bench.anchor import Looks, Speed, SubjectOf, anchored, speeds, turn_speeds
from cotenant.bench.asking import Asker
from cotenant.bench.load import LoadGenerator, LoadPlan
from cotenant.bench.luck import forecasts_with_luck
from cotenant.bench.mixed import Sink, load_of, service_means
from cotenant.bench.mixes import DrawnMix
from cotenant.bench.predictors import PREDICTORS, Predictor
from cotenant.bench.records import Anchor, Failure, Observation, Phase
from cotenant.bench.servers import HOST, SERVE, Server
from cotenant.bench.steady import WINDOWS
from cotenant.core.errors import CotenantError
from cotenant.core.workload import Workload
from cotenant.profiling.profile import Profile
from cotenant.profiling.subject import subject_of as real_subject_of

_LOOKS = 2
"""At a machine that is much slower than when it was profiled."""
USABLE = 1.25
"""How many times slower than when it was profiled the machine may be; past that it lacks a core."""
_DRAIN_S = 30.0
_START_S = 6.0
"""About what a server takes to start and to end ..."""
_LOOK_S = 25.0
"""... and a look, with its server: for the progress bar."""


class Windows(NamedTuple):
    """How long each mix is measured, and from which seed its arrivals are drawn."""

    seconds_s: float
    warm_up_s: float
    seed: int
    patience_s: float = 15.0
    """How long to wait before the machine is looked at again."""


class Step(NamedTuple):
    """What is about to happen, for whoever watches."""

    doing: str
    seconds_s: float
    """About how long it will take."""


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
        subject_of: SubjectOf = real_subject_of,
        program: Sequence[str] = SERVE,
        generator_cores: Sequence[int] = (),
    ) -> None:
        """`profile` by policy; the generator is wherever this thread is unless told otherwise."""
        self._tenants = tuple(
            mix.workload.model_copy(update={"policy": policy})
            for mix in mixes
            for policy in policies
        )
        self._profile = profile
        self._looks = {policy: Looks() for policy in policies}
        self._windows = windows
        self._sink = sink
        self._folder = folder
        self._announce = announce
        self._predictors = predictors
        self._subject_of = subject_of
        self._program = program
        self._generator_cores = tuple(generator_cores)
        self._generator: LoadGenerator | None = None

    def run(self) -> None:
        """Look at all, forecast all, then measure all in rounds."""
        try:
            seen = [one for one in self._tenants if self._attempt(one, partial(self._look, one))]
            for workload in seen:
                self._forecast(workload)
            for number in range(WINDOWS):
                order = self._rng("order", str(number)).permutation(len(seen))
                for workload in [seen[place] for place in order]:
                    self._attempt(workload, partial(self._measure, workload, number))
        finally:
            self._end_generator()

    def _look(self, workload: Workload) -> None:
        """See how long each task takes alone on the machine of today."""
        profile = self._profile[workload.policy]
        self._say(workload, "asking each task alone", _LOOK_S)
        with self._served(workload) as server:
            asker = Asker(server, self._ready_generator(), self._windows.seed)
            # A server's first answers are slower than those that follow.
            turn_speeds(workload, profile, self._subject_of, asker)
            for _ in range(_LOOKS):
                now = speeds(workload, profile, self._subject_of, asker)
                if np.median([speed.warm for speed in now.values()]) <= USABLE:
                    break
                self._say(workload, "waiting, the machine is much slower than when profiled", 0.0)
                time.sleep(self._windows.patience_s)
        self._sink.write([_anchor(workload, now)])
        self._looks[workload.policy].add(workload, self._subject_of, now)

    def _forecast(self, workload: Workload) -> None:
        """Write down what every predictor says, from the profile as all looks have corrected it."""
        self._say(workload, "predicting", 0.0)
        expected = self._looks[workload.policy].expected(workload, self._subject_of)
        known = self._profile[workload.policy]
        profile = anchored(known, workload, self._subject_of, expected)
        for name in self._predictors:
            self._attempt(workload, partial(self._predict, workload, profile, name))

    def _predict(self, workload: Workload, profile: Profile, predictor: str) -> None:
        self._sink.write(
            forecasts_with_luck(
                predictor,
                self._predictors[predictor],
                workload,
                profile,
                self._subject_of,
                seconds_s=self._windows.seconds_s,
                warm_up_s=self._windows.warm_up_s,
            )
        )

    def _measure(self, workload: Workload, number: int) -> None:
        """One window on a server of its own."""
        windows = self._windows
        horizon_s = windows.warm_up_s + windows.seconds_s
        self._say(workload, f"window {number + 1} of {WINDOWS}", horizon_s + _START_S)
        place = (workload.name, workload.policy, number)
        with self._served(workload, f"served-{workload.name}-{workload.policy}-{number}.jsonl") as (
            server
        ):
            before = {task.name: server.inference_time(task.name) for task in workload.tasks}
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
            start_s = driven.start_s + windows.warm_up_s
            phase = Phase(
                *place,
                tasks=tuple(task.name for task in workload.tasks),
                warm_up_from_s=driven.start_s,
                start_s=start_s,
                end_s=start_s + windows.seconds_s,
                service_s=service_means(before, server),
            )
        self._sink.write([phase, *(Observation(*place, **seen._asdict()) for seen in driven.seen)])

    @contextlib.contextmanager
    def _served(self, workload: Workload, records: str | None = None) -> Iterator[Server]:
        """A server that has loaded its models."""
        path = None if records is None else self._folder / records
        with Server(workload, workload.policy, self._folder, self._program, path) as server:
            server.wait_ready()
            yield server

    def _attempt(self, workload: Workload, action: Callable[[], object]) -> bool:
        """Whether it did not fail."""
        try:
            action()
        except (CotenantError, OSError, ValueError, ArithmeticError) as error:
            self._end_generator()  # a plan may still be under way in it
            self._sink.write([Failure(workload.name, workload.policy, str(error))])
            return False
        return True

    def _say(self, workload: Workload, doing: str, seconds_s: float) -> None:
        self._announce(Step(f"{workload.name}, {workload.policy}: {doing}", seconds_s))

    def _ready_generator(self) -> LoadGenerator:
        if self._generator is None:
            self._generator = LoadGenerator(self._generator_cores)
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
    """About what looks and windows take together."""
    window_s = windows.seconds_s + windows.warm_up_s + _START_S
    return mixes * policies * (_LOOK_S + WINDOWS * window_s)


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


def _anchor(workload: Workload, now: Mapping[str, Speed]) -> Anchor:
    return Anchor(
        workload.name,
        workload.policy,
        calm={task: speed.calm for task, speed in now.items()},
        warm={task: speed.warm for task, speed in now.items()},
        in_turns={task: speed.in_turns for task, speed in now.items()},
    )
