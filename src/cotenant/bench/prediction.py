"""Mixes, policies and a profile go in; forecasts, then measurements of real servers, come out.

Mixes are visited in rounds, each mix once a round, in another order every time. A visit starts a
server, asks each of its tasks alone, to correct the profile (`bench/anchor.py`), forecasts the
window that is to come, and measures it; the forecast is on disk before the window begins. So the
windows of one mix are half an hour or more apart: a machine that others share is slow for minutes,
and a mix whose windows follow each other would be measured on that machine alone. Every window
draws arrivals of its own, as days of one deployment would. All are written down; which of them
count is for the report to say (`bench/steady.py`).

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
from typing import NamedTuple, TypeVar

import numpy as np

from cotenant.bench.anchor import Looks, Speed, SubjectOf, anchored, speeds, wake
from cotenant.bench.apart import ServedRecords
from cotenant.bench.asking import Asker
from cotenant.bench.load import LoadGenerator, LoadPlan
from cotenant.bench.luck import luck_of
from cotenant.bench.mixed import Sink, load_of, service_means
from cotenant.bench.mixes import DrawnMix
from cotenant.bench.predictors import PREDICTORS, Predictor
from cotenant.bench.records import Anchor, Failure, Forecast, Observation, Phase
from cotenant.bench.servers import HOST, SERVE, Server
from cotenant.bench.steady import WINDOWS
from cotenant.core.errors import CotenantError
from cotenant.core.workload import Workload
from cotenant.profiling.profile import Profile
from cotenant.profiling.subject import subject_of as real_subject_of

_T = TypeVar("_T")

_LOOKS = 2
"""At a machine that is much slower than when it was profiled."""
USABLE = 1.25
"""How many times slower than when it was profiled the machine may be; past that it lacks a core."""
_DRAIN_S = 30.0
_START_S = 6.0
"""About what a server takes to start and to end ..."""
_LOOK_S = 13.0
"""... a look ..."""
_FORECAST_S = 4.0
"""... and a forecast: for the progress bar."""


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
        """Visit all mixes, in rounds."""
        try:
            for number in range(WINDOWS):
                order = self._rng("order", str(number)).permutation(len(self._tenants))
                for workload in [self._tenants[place] for place in order]:
                    self._attempt(workload, partial(self._visit, workload, number))
        finally:
            self._end_generator()

    def _visit(self, workload: Workload, number: int) -> None:
        """A look, a forecast and a window, on a server of their own."""
        self._say(workload, "asking each task alone", _START_S + _LOOK_S)
        with self._served(workload, number) as server:
            self._look(workload, number, server)
            self._say(workload, "predicting", _FORECAST_S)
            profile = self._profile_now(workload)
            said = self._forecast(workload, number, profile)
            self._measure(workload, number, server)
        if number == WINDOWS - 1:
            self._sink.write(
                luck_of(
                    workload,
                    profile,
                    self._subject_of,
                    said,
                    seconds_s=self._windows.seconds_s,
                    warm_up_s=self._windows.warm_up_s,
                )
            )

    def _look(self, workload: Workload, number: int, server: Server) -> None:
        """See how long each task takes alone on the machine of now."""
        profile = self._profile[workload.policy]
        asker = Asker(server, self._ready_generator(), self._windows.seed)
        records = ServedRecords(self._records_path(workload, number))
        wake(workload, profile, self._subject_of, asker, records)
        for _ in range(_LOOKS):
            now = speeds(workload, profile, self._subject_of, asker, records)
            if np.median([speed.warm for speed in now.values()]) <= USABLE:
                break
            self._say(workload, "waiting, the machine is much slower than when profiled", 0.0)
            time.sleep(self._windows.patience_s)
        self._sink.write([_anchor(workload, number, now)])
        self._looks[workload.policy].add(workload, self._subject_of, now)

    def _profile_now(self, workload: Workload) -> Profile:
        """The profile as all looks so far have corrected it."""
        expected = self._looks[workload.policy].expected(workload, self._subject_of)
        return anchored(self._profile[workload.policy], workload, self._subject_of, expected)

    def _forecast(self, workload: Workload, number: int, profile: Profile) -> list[Forecast]:
        """Write down what every predictor says."""
        said: list[Forecast] = []
        for predict in self._predictors.values():
            forecasts = self._attempt(workload, partial(predict, workload, profile))
            said += [one._replace(round=number) for one in forecasts or ()]
        self._sink.write(said)
        return said

    def _measure(self, workload: Workload, number: int, server: Server) -> None:
        """One window."""
        windows = self._windows
        horizon_s = windows.warm_up_s + windows.seconds_s
        self._say(workload, f"window {number + 1} of {WINDOWS}", horizon_s)
        place = (workload.name, workload.policy, number)
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
    def _served(self, workload: Workload, number: int) -> Iterator[Server]:
        """A server that has loaded its models, and keeps records."""
        path = self._records_path(workload, number)
        path.unlink(missing_ok=True)
        with Server(workload, workload.policy, self._folder, self._program, path) as server:
            server.wait_ready()
            yield server

    def _records_path(self, workload: Workload, number: int) -> Path:
        return self._folder / f"served-{workload.name}-{workload.policy}-{number}.jsonl"

    def _attempt(self, workload: Workload, action: Callable[[], _T]) -> _T | None:
        """What it gives, if it does not fail."""
        try:
            return action()
        except (CotenantError, OSError, ValueError, ArithmeticError) as error:
            self._end_generator()  # a plan may still be under way in it
            self._sink.write([Failure(workload.name, workload.policy, str(error))])
            return None

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
    """About what all visits take together."""
    window_s = windows.warm_up_s + windows.seconds_s
    return mixes * policies * WINDOWS * (_START_S + _LOOK_S + _FORECAST_S + window_s)


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


def _anchor(workload: Workload, number: int, now: Mapping[str, Speed]) -> Anchor:
    by_pace = {
        pace: {task: getattr(speed, pace) for task, speed in now.items()} for pace in Speed._fields
    }
    return Anchor(workload.name, workload.policy, number, **by_pace)
