"""Made-up tasks and service times go in; how long predictions and simulations take comes out.

Nothing is measured but our own commands, each in an interpreter of its own as people start them, so
the service times need not be true: they are drawn once, with pairs that slow each other, so that
the predictor has everything to reckon with.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cotenant.bench.bars import Bar, amount
from cotenant.bench.cores import core_count
from cotenant.bench.header import suite_header
from cotenant.bench.mixes import MODELS
from cotenant.bench.report import REPORT, SUMMARY
from cotenant.bench.servers import workload_text
from cotenant.bench.zoo_profile import zoo_workload
from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import Unsupported
from cotenant.core.native import compiled_modules
from cotenant.core.task import Criticality, Periodic, Poisson, Slo, Task
from cotenant.core.workload import Workload
from cotenant.profiling.file import origin, save_profile
from cotenant.profiling.profile import Alone, Beside, Profile, Subject, service_time
from cotenant.profiling.subject import subject_of

PREDICT_S = 1.0
"""Within which the latencies of fifty tasks are to be predicted, by the whole command."""
SIMULATE_RPS = 50_000.0
"""Requests a second that are to be simulated at least, on one core."""

_UNFIT = 3
"""What `cotenant predict` ends with where something does not fit."""
_COMMAND = (sys.executable, "-m", "cotenant")
_MEANS_S = (0.003, 0.06)
"""Of the fastest model and of the slowest."""
_CV = 0.1
_SAMPLES = 1000
_EXCESS = 0.1
"""By which a neighbour that always runs slows a model."""


class Case(NamedTuple):
    """A command to be timed, on a workload."""

    figure: str
    command: str
    workload: Workload

    @property
    def simulates(self) -> bool:
        return self.command == "simulate"

    def bar(self, value: float) -> Bar:
        if self.simulates:
            return Bar("simulate", f"{self.figure}: requests a second", value, SIMULATE_RPS, False)
        return Bar("predict", f"{self.figure}: seconds", value, PREDICT_S, True)


def cases(seed: int, models: Sequence[str] = MODELS) -> tuple[Case, ...]:
    """Fifty tasks to predict in both ways, and five and fifty tasks to simulate."""
    rng = np.random.default_rng(seed)

    def drawn(
        name: str, policy: str, tasks: int, rates_rps: tuple[float, float], periodic: float
    ) -> Workload:
        drawn_tasks = (
            _task(f"task{rank}", models, rates_rps, periodic, rng) for rank in range(tasks)
        )
        return Workload(name=name, policy=policy, tasks=tuple(drawn_tasks))

    mixed = drawn("fifty", "cotenant", 50, (0.1, 0.4), 0.5)
    poisson = drawn("fifty-poisson", "sequential", 50, (0.1, 0.4), 0.0)
    few = drawn("five", "cotenant", 5, (2.0, 8.0), 0.5)
    return (
        Case("50 tasks, on the virtual clock", "predict", mixed),
        Case("50 tasks, by closed forms", "predict", poisson),
        Case("5 tasks", "simulate", few),
        Case("50 tasks", "simulate", mixed),
    )


def made_up_profile(models: Sequence[str]) -> Profile:
    """Of every model of the zoo in both criticalities, and of all pairs, on this machine."""
    workload = zoo_workload(models, "cotenant")
    means_s = np.geomspace(*_MEANS_S, len(models))
    subjects = [subject_of(task, workload) for task in workload.tasks]
    rng = np.random.default_rng(0)
    alone = tuple(
        Alone(
            subject=subject,
            batch=1,
            model=task.model,
            service=service_time(rng.gamma(_CV**-2, _CV**2 * means_s[rank // 2], _SAMPLES)),
            relative_error=0.0,
            overhead_s=0.001,
            load_s=0.1,
            memory_bytes=1,
        )
        for rank, (task, subject) in enumerate(zip(workload.tasks, subjects, strict=True))
    )
    here = origin()
    return Profile(
        policy="cotenant",
        preemptive=True,
        machine=dict(here.machine),
        versions=dict(here.versions),
        alone=alone,
        beside=tuple(
            Beside(subject=one, other=other, n=1, slowdown=_shared(one, other), busy=1.0)
            for one in subjects
            for other in subjects
        ),
    )


def measure(
    folder: Path,
    *,
    rounds: int,
    requests: int,
    seed: int,
    ended: Callable[[], None],
    models: Sequence[str] = MODELS,
) -> tuple[Bar, ...]:
    """Time every case in turns, and write its summary and report; `ended` is called after each.

    Raises:
        Unsupported: a command failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    profile = folder / "profile.json"
    save_profile(made_up_profile(models), profile)
    every = cases(seed, models)
    seen: dict[Case, list[float]] = {case: [] for case in every}
    for _ in range(rounds):
        for case in every:
            path = folder / f"{case.workload.name}.yaml"
            path.write_text(workload_text(case.workload), encoding="utf-8")
            more = ("--requests", str(requests)) if case.simulates else ()
            options = ("--profile", str(profile), "--json", *more)
            took_s, answer = _asked((case.command, str(path), *options))
            seen[case].append(requests / answer["took_s"] if case.simulates else took_s)
            ended()
    bars = tuple(case.bar(float(np.median(values))) for case, values in seen.items())
    rows = [
        {**bar._asdict(), "met": bar.met, "values": values}
        for bar, values in zip(bars, seen.values(), strict=True)
    ]
    summary = suite_header("pace", seed) | {"rounds": rounds, "requests": requests, "rows": rows}
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (folder / REPORT).write_text(_markdown(summary), encoding="utf-8")
    return bars


def _markdown(summary: Mapping[str, Any]) -> str:
    machine = summary["machine"]
    rows = [
        f"| {row['scenario']} {row['figure']} | {amount(row['value'])} "
        f"| {amount(min(row['values']))} to {amount(max(row['values']))} "
        f"| {'<=' if row['at_most'] else '>='} {amount(row['limit'])} "
        f"| {'pass' if row['met'] else 'MISS'} |"
        for row in summary["rows"]
    ]
    return "\n".join(
        [
            "# How fast predictions and simulations are",
            "",
            f"{machine['processor']}, {core_count(machine)}, {machine['system']}; seed "
            f"{summary['seed']}, {summary['rounds']} rounds. {_compiled()}",
            "",
            "| figure | median | all rounds | bar | |",
            "| --- | ---: | ---: | ---: | --- |",
            *rows,
            "",
            "Whole commands, each in an interpreter of its own.",
            "",
        ]
    )


def _compiled() -> str:
    if compiled_modules():
        return "The modules that each request passes through are compiled."
    return "All modules run as Python: without a C compiler, or after 'make pure'."


def _asked(command: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """How long a command takes, its interpreter's start and all, and what it answers."""
    clock = MonotonicClock()
    began_s = clock.now()
    ended = subprocess.run([*_COMMAND, *command], capture_output=True, text=True, check=False)
    took_s = clock.now() - began_s
    if ended.returncode not in (0, _UNFIT):
        raise Unsupported(f"'cotenant {' '.join(command)}' failed: {ended.stderr.strip()[-500:]}")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return took_s, answer


def _task(
    name: str,
    models: Sequence[str],
    rates_rps: tuple[float, float],
    periodic: float,
    rng: np.random.Generator,
) -> Task:
    """A random model, criticality and rate; periodic with that probability."""
    rate_rps = float(rng.uniform(*rates_rps))
    return Task(
        name=name,
        model=f"zoo:{rng.choice(models)}",
        criticality=Criticality.CRITICAL if rng.random() < 0.5 else Criticality.BEST_EFFORT,
        slo=Slo(latency_s=0.5, quantile=0.99),
        arrivals=Periodic(kind="periodic", rate_rps=rate_rps)
        if rng.random() < periodic
        else Poisson(kind="poisson", rate_rps=rate_rps),
    )


def _shared(one: Subject, other: Subject) -> float:
    """What sharing the cores costs, and a little more."""
    alike = one.criticality is other.criticality
    return 2.0 + _EXCESS if alike else 1.0 + _EXCESS
