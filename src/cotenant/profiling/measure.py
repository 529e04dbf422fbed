"""A workload goes in, a `Profile` of this machine comes out: each task alone, each pair together.

The settings are visited in rounds, one short visit each, so that a machine that drifts moves
all of them alike. A setting whose interval is tight enough is not visited again, unless too few
requests have been seen for a tail.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import ModelError
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.device.cpu.scheduling import Rung, best_rung, throttled_s
from cotenant.profiling.cooling import BRIEF_S
from cotenant.profiling.file import origin
from cotenant.profiling.inputs import batches, draw_inputs
from cotenant.profiling.memory import memory_bytes
from cotenant.profiling.profile import COOLING_S, LONG_PAUSE_S, PAUSE_S, Profile
from cotenant.profiling.setting import Loaded, Setting, alone_of, beside_of, cooling_of
from cotenant.profiling.subject import component_width, subject_of
from cotenant.profiling.visit import Guest, gap_alone_s, visit, visit_in_turns
from cotenant.runtime.base import State
from cotenant.runtime.live import LiveRuntime

_LOOK_S = 0.002
_AFTER_LONG_RESTS = 5
"""Requests in one visit: they wait a hundred times longer than they take."""


class Effort(NamedTuple):
    """How much is measured."""

    requests: int = 20
    """Of each task in one visit."""
    rounds: int = 10
    """At most."""
    tight: float = 0.02
    """Relative error of the mean at which a setting is done ..."""
    alone: int = 200
    """... if these are requests enough of a task alone: fewer say nothing of its p99."""

    def requests_of(self, setting: Setting) -> int:
        """In one visit."""
        if setting.rests:
            return _AFTER_LONG_RESTS
        least = math.ceil(self.alone / self.rounds) if setting.alone else 0
        return max(self.requests, least)

    def done(self, setting: Setting, rng: np.random.Generator) -> bool:
        """Whether there is nothing left to learn."""
        enough = not setting.alone or setting.seen >= self.alone
        return enough and setting.error(rng) <= self.tight


class Progress(NamedTuple):
    """How far a measurement is."""

    done: int
    total: int
    """Visits, if no further setting is done early."""
    doing: str


async def measure(
    workload: Workload,
    effort: Effort,
    rng: np.random.Generator,
    progress: Callable[[Progress], None],
    variations: Sequence[Task] = (),
) -> Profile:
    """Run every task of the workload on this machine, alone and in pairs, without a network.

    The `variations` run alone only.

    Raises:
        ModelError: a task cannot be loaded.
        ExecutionError: an inference failed.
    """
    # The guard would hold the others back, and hide what they do to a critical task.
    tasks = tuple(
        task.model_copy(update={"slowdown_max": math.inf, "deadline_s": None})
        for task in (*workload.tasks, *variations)
    )
    machine = LiveRuntime(workload.model_copy(update={"tasks": tasks[:1]}))
    # A start that fails leaves nothing to close.
    loads_s = [await _time_until_ready(machine, tasks[0].name, machine.start())]
    try:
        for task in tasks[1:]:
            loads_s.append(await _time_until_ready(machine, task.name, machine.load(task)))
        loaded = [
            await _introduce(machine, workload, task, load_s, rng)
            for task, load_s in zip(tasks, loads_s, strict=True)
        ]
        settings = [Setting([one], [guest]) for one in loaded for guest in one.guests]
        settings += [
            Setting([one], [one.guests[0]._replace(pause_s=pause_s)])
            for one in loaded
            for pause_s in _other_pauses_s(one.task)
        ]
        for together in _by_component(workload, loaded[: len(workload.tasks)]):
            settings += [
                Setting(pair, [one.guests[0] for one in pair])
                for pair in combinations(together, 2)
                if not _exclude_each_other(workload, pair)
            ]
            if len(together) > 1:
                guests = [one.guests[0] for one in together]
                settings.append(Setting(together, guests, in_turns=True))
        await _visit_in_rounds(machine, settings, effort, rng, progress)
    finally:
        await machine.close()
    here = origin()
    return Profile(
        policy=workload.policy,
        preemptive=best_rung() is not Rung.GATED,
        machine=dict(here.machine),
        versions=dict(here.versions),
        alone=alone_of(settings, rng),
        beside=beside_of(settings),
        cooling_s=cooling_of(settings) or COOLING_S,
        respite_s=throttled_s() if best_rung() is Rung.FIFO_IDLE else 0.0,
    )


async def _visit_in_rounds(
    machine: LiveRuntime,
    settings: Sequence[Setting],
    effort: Effort,
    rng: np.random.Generator,
    progress: Callable[[Progress], None],
) -> None:
    open_settings, done = list(settings), 0
    for round_number in range(effort.rounds):
        total = done + len(open_settings) * (effort.rounds - round_number)
        for setting in open_settings:
            progress(Progress(done, total, setting.name))
            visiting = visit_in_turns if setting.in_turns else visit
            requests = effort.requests_of(setting)
            setting.stays.append(await visiting(machine, setting.guests, requests))
            done += 1
        open_settings = [one for one in open_settings if not effort.done(one, rng)]
    progress(Progress(done, done, "done"))


async def _introduce(
    machine: LiveRuntime,
    workload: Workload,
    task: Task,
    load_s: float,
    rng: np.random.Generator,
) -> Loaded:
    """Draw a task's inputs, and have it answer each once, so that its memory is complete."""
    signature = machine.served[task.name].signature
    if signature is None:
        raise ModelError(f"task {task.name!r} has no signature; it cannot be given inputs")
    largest = task.batch.max_size if batches(signature) else 1
    guests = tuple(
        Guest(task, rows, draw_inputs(signature, rows, rng)) for rows in sorted({1, largest})
    )
    for guest in guests:
        await visit(machine, [guest], 1)
    return Loaded(
        task,
        subject_of(task, workload),
        guests,
        load_s,
        memory_bytes(machine.lane_pids()[task.name]),
    )


async def _time_until_ready(
    machine: LiveRuntime, task: str, starting: Coroutine[Any, Any, None]
) -> float:
    # `starting` also learns a critical task's baseline, which is no part of loading it.
    clock = MonotonicClock()
    began_s = clock.now()
    started = asyncio.create_task(starting)
    while not started.done():
        await asyncio.sleep(_LOOK_S)
        served = machine.served.get(task)
        if served is not None and served.state is State.READY:
            break
    load_s = clock.now() - began_s
    await started
    return load_s


def _other_pauses_s(task: Task) -> tuple[float, ...]:
    """Besides its own, which it is measured with in any case: they say how it cools."""
    own_s = gap_alone_s(task)
    if own_s >= PAUSE_S:
        return (0.0, BRIEF_S, LONG_PAUSE_S)
    return (0.0,) if own_s > 0.0 else ()


def _by_component(workload: Workload, loaded: Sequence[Loaded]) -> Iterable[Sequence[Loaded]]:
    default = workload.components[0].name if workload.components else None
    found: dict[str | None, list[Loaded]] = {}
    for one in loaded:
        found.setdefault(one.task.component or default, []).append(one)
    return found.values()


def _exclude_each_other(workload: Workload, pair: Sequence[Loaded]) -> bool:
    """Critical tasks that do not both fit on their component never run beside each other."""
    return (
        workload.policy == "cotenant"
        and all(one.task.critical for one in pair)
        and sum(one.subject.width for one in pair) > component_width(pair[0].task, workload)
    )
