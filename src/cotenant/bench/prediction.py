"""Mixes, policies and a profile go in; forecasts, then measurements of real servers, come out.

Four mixes are up at a time, and their windows take turns: A, B, C, D, then all again in another
order, each on a server of its own that has loaded its models once. Every task is asked alone
first, to correct the profile (`bench/anchor.py`); all forecasts of the four are on disk before
their first window. The two windows of a mix draw arrivals of their own, as two days of one
deployment would: how far they differ is what nobody can predict.

A mix is measured until two of its windows saw the same machine (`bench/agreement.py`). If four
windows have brought no two such, or the machine has changed since the forecast and stays changed,
the mix is asked, predicted and measured anew after all others; in the last round the two windows
that are most alike count. Windows that do not count are written down as unsteady, with their
figures.

Each server keeps its own records, in `served-MIX-POLICY.jsonl`, as it does when its front is
measured: they cost a little, and tell where the time of a request went when a forecast is wrong.

A mix that fails (a server that does not start, a generator that dies) is written down as a
failure, and the rest goes on.
"""

import contextlib
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cotenant.bench.agreement import WINDOWS, Limits, Window, agreeing, closest, unsteady
from cotenant.bench.anchor import Looks, Speed, SubjectOf, anchored, speeds, turn_speeds
from cotenant.bench.asking import Asker
from cotenant.bench.load import LoadGenerator, LoadPlan
from cotenant.bench.luck import forecasts_with_luck
from cotenant.bench.mixed import Sink, load_of, service_means
from cotenant.bench.mixes import DrawnMix
from cotenant.bench.predictors import PREDICTORS, Predictor
from cotenant.bench.records import Anchor, Failure, Observation, Phase
from cotenant.bench.servers import HOST, SERVE, Server
from cotenant.core.errors import CotenantError
from cotenant.core.workload import Workload
from cotenant.profiling.profile import Profile
from cotenant.profiling.subject import subject_of as real_subject_of

MOST_WINDOWS = 4
"""Of a mix in a round."""
UP_AT_A_TIME = 4
"""So that minutes lie between two windows of a mix: a machine that is slow for one is another by
the next."""
ROUNDS = 3
"""Over the mixes that no two windows have agreed on yet."""
_LOOKS = 2
"""At a machine that is much slower than when it was profiled."""
USABLE = 1.25
"""How many times slower than when it was profiled the machine may be; past that it lacks a core."""
_DRAIN_S = 30.0


class Windows(NamedTuple):
    """How long each mix is measured, and from which seed its arrivals are drawn."""

    seconds_s: float
    warm_up_s: float
    seed: int
    patience_s: float = 15.0
    """How long to wait before the machine is looked at again."""
    limits: Limits = Limits()


class Step(NamedTuple):
    """What is about to happen, for whoever watches."""

    doing: str
    seconds_s: float
    """0 for what is not a window."""


class _Up(NamedTuple):
    """A mix whose server runs, with what it takes alone on the machine of today."""

    workload: Workload
    server: Server
    profile: Profile


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
        self._mixes = tuple(mixes)
        self._policies = tuple(policies)
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
        """Predict and measure four after four, and again those under which the machine changed."""
        left: Sequence[Workload] = [
            mix.workload.model_copy(update={"policy": policy})
            for mix in self._mixes
            for policy in self._policies
        ]
        together = UP_AT_A_TIME * len(self._policies)
        try:
            for last in (number == ROUNDS - 1 for number in range(ROUNDS)):
                left = [
                    again
                    for first in range(0, len(left), together)
                    for again in self._run_together(left[first : first + together], last)
                ]
        finally:
            self._end_generator()

    def _run_together(self, tenants: Sequence[Workload], last: bool) -> Sequence[Workload]:
        """Predict and measure these in turns; returns those under which the machine has changed.

        Args:
            last: what was measured counts, whatever the machine did.
        """
        with contextlib.ExitStack() as stack:
            servers: dict[tuple[str, str], Server] = {}
            for workload in tenants:
                self._say(workload, "starting")
                self._attempt(workload, partial(self._start, workload, servers, stack))
            up = [
                _Up(one, servers[one.name, one.policy], self._profile[one.policy])
                for one in tenants
                if (one.name, one.policy) in servers
            ]
            for one in up:
                # A server's first answers are slower than those that follow.
                self._attempt(one.workload, partial(self._ask_in_turns, one))
            ready: list[_Up] = []
            for one in up:
                self._attempt(one.workload, partial(self._prepare, one, ready))
            return self._settled(ready, self._measured(ready, last), last)

    def _start(
        self,
        workload: Workload,
        servers: dict[tuple[str, str], Server],
        stack: contextlib.ExitStack,
    ) -> None:
        served = self._folder / f"served-{workload.name}-{workload.policy}.jsonl"
        with contextlib.ExitStack() as started:
            server = started.enter_context(
                Server(workload, workload.policy, self._folder, self._program, served)
            )
            server.wait_ready()
            servers[workload.name, workload.policy] = server
            stack.push(started.pop_all())

    def _measured(self, ready: Sequence[_Up], last: bool) -> Mapping[str, Sequence[Window]]:
        """The windows of each, in turns, until two agree."""
        seen: dict[str, list[Window]] = {_key(one): [] for one in ready}
        left = list(ready)
        for number in range(MOST_WINDOWS):
            left = [one for one in left if agreeing(seen[_key(one)], self._windows.limits) is None]
            order = self._rng("order", str(number), *sorted(seen))
            for one in [left[place] for place in order.permutation(len(left))]:
                windows = seen[_key(one)]
                if windows and not last and self._changed(one, windows[-1]):
                    left.remove(one)
                else:
                    self._attempt(one.workload, partial(self._add_window, one, number, windows))
        return seen

    def _changed(self, one: _Up, window: Window) -> bool:
        """Whether the machine that had changed after this window is not back."""
        if self._windows.limits.holds(window.change):
            return False
        now: list[float] = []
        self._say(one.workload, "asking each task alone, since the machine had changed")
        self._attempt(one.workload, lambda: now.append(self._change(one)))
        return not all(map(self._windows.limits.holds, now))

    def _settled(
        self, ready: Sequence[_Up], seen: Mapping[str, Sequence[Window]], last: bool
    ) -> Sequence[Workload]:
        """Write down what was measured; returns those that have to be measured anew."""
        again = []
        for one in ready:
            windows = seen[_key(one)]
            agreed = agreeing(windows, self._windows.limits)
            kept = closest(windows) if agreed is None and last else agreed or ()
            self._sink.write(
                [
                    unsteady(window, kept=window in kept)
                    for window in windows
                    if agreed is None or window not in kept
                ]
            )
            self._sink.write([line for window in kept for line in window.lines])
            if agreed is None and not last:
                again.append(one.workload)
        return again

    def _prepare(self, one: _Up, ready: list[_Up]) -> None:
        """Correct the profile by a look at the machine, and write down every forecast."""
        workload = one.workload
        for _ in range(_LOOKS):
            self._say(workload, "asking each task alone")
            now = speeds(workload, one.profile, self._subject_of, self._asker(one.server))
            if np.median([speed.warm for speed in now.values()]) <= USABLE:
                break
            self._say(workload, "waiting, the machine is much slower than when it was profiled")
            time.sleep(self._windows.patience_s)
        self._sink.write([_anchor(workload, now)])
        looks = self._looks[workload.policy]
        looks.add(workload, self._subject_of, now)
        expected = looks.expected(workload, self._subject_of)
        one = one._replace(profile=anchored(one.profile, workload, self._subject_of, expected))
        ready.append(one)
        self._say(workload, "predicting")
        for name in self._predictors:
            self._attempt(workload, partial(self._predict, one, name))

    def _predict(self, one: _Up, predictor: str) -> None:
        self._sink.write(
            forecasts_with_luck(
                predictor,
                self._predictors[predictor],
                one.workload,
                one.profile,
                self._subject_of,
                seconds_s=self._windows.seconds_s,
                warm_up_s=self._windows.warm_up_s,
            )
        )

    def _add_window(self, one: _Up, number: int, seen: list[Window]) -> None:
        self._say(
            one.workload,
            f"window {number + 1}",
            self._windows.seconds_s + self._windows.warm_up_s,
        )
        phase, observations = self._measure(one, number)
        phase = phase._replace(change=self._change(one))
        seen.append(Window([phase, *observations], _uninterrupted(one.workload)))

    def _change(self, one: _Up) -> float:
        """Time that the tasks take alone now, over that which the forecast takes them to take."""
        return float(np.median(list(self._ask_in_turns(one).values())))

    def _ask_in_turns(self, one: _Up) -> dict[str, float]:
        return turn_speeds(one.workload, one.profile, self._subject_of, self._asker(one.server))

    def _measure(self, one: _Up, number: int) -> tuple[Phase, list[Observation]]:
        windows, workload, server = self._windows, one.workload, one.server
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
        return phase, [Observation(*place, **seen._asdict()) for seen in driven.seen]

    def _attempt(self, workload: Workload, action: Callable[[], object]) -> None:
        try:
            action()
        except (CotenantError, OSError, ValueError, ArithmeticError) as error:
            self._end_generator()  # a plan may still be under way in it
            self._sink.write([Failure(workload.name, workload.policy, str(error))])

    def _say(self, workload: Workload, doing: str, seconds_s: float = 0.0) -> None:
        self._announce(Step(f"{workload.name}, {workload.policy}: {doing}", seconds_s))

    def _asker(self, server: Server) -> Asker:
        return Asker(server, self._ready_generator(), self._windows.seed)

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
    """What all windows take together."""
    return mixes * policies * WINDOWS * (windows.seconds_s + windows.warm_up_s)


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


def _uninterrupted(workload: Workload) -> frozenset[str]:
    """Critical tasks; all of them where none is critical."""
    critical = frozenset(task.name for task in workload.tasks if task.critical)
    return critical or frozenset(task.name for task in workload.tasks)


def _anchor(workload: Workload, now: Mapping[str, Speed]) -> Anchor:
    return Anchor(
        workload.name,
        workload.policy,
        calm={task: speed.calm for task, speed in now.items()},
        warm={task: speed.warm for task, speed in now.items()},
        in_turns={task: speed.in_turns for task, speed in now.items()},
    )


def _key(one: _Up) -> str:
    return f"{one.workload.name}, {one.workload.policy}"
