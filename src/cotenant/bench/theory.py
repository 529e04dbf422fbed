"""Queues with known answers go in; what the coordinator on a virtual clock makes of them comes out.

Each queue is simulated in independent replications, each from an empty system with its first part
left out; the interval of a mean is Student's over the replications' means. With 95 % for each row,
one row in twenty lies outside by chance, and all rows together should cover the theory about as
often as that. The intervals that all rows keep together with 95 % (Bonferroni) should be left by
none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from cotenant.core.hardware import Capability, Component
from cotenant.core.record import Record
from cotenant.core.task import Task
from cotenant.device.null import ServiceTime
from cotenant.policy import policy_by_name
from cotenant.queueing import mg1, priority, swap
from cotenant.queueing.service import Service, gamma
from cotenant.queueing.stream import Answer, Sojourn, Stream
from cotenant.runtime.laws import drawn, gamma_law
from cotenant.runtime.simulate import Scene, simulate

LOADS = (0.3, 0.6, 0.9)
_WARM_UP = 0.25
"""Share of a replication that is left out; at load 0.9 it is some 100 relaxation times."""
_SERVICES = {"a": gamma(0.01, 1.0), "b": gamma(0.02, 1.0), "c": gamma(0.03, 4.0)}
"""Two exponential, one heavier."""
_CLIENTS, _SHARED_S = 8, 0.01
_SWAPS_S = {"a": 0.015, "b": 0.017, "c": 0.024}
_CPU = Component("cpu", "null", (0, 1), Capability.PREEMPTIVE)

Times = Callable[[np.random.Generator], ServiceTime]


class Case(NamedTuple):
    """A queue at a load: what to simulate, and the mean sojourn that theory gives."""

    queue: str
    load: float
    policy: str
    tasks: tuple[Task, ...]
    service: Times
    theory_s: Mapping[str, float]
    """By group of tasks."""
    group: Callable[[str], str] = lambda task: task

    @property
    def requests(self) -> int:
        """Many times the memory of the queue, so that the means of replications are not skewed."""
        return {0.3: 16_000, 0.6: 32_000}.get(self.load, 96_000)


class Row(NamedTuple):
    """One mean against its theory."""

    queue: str
    load: float
    task: str
    simulated_s: float
    half_s: float
    """Half of the 95 % interval."""
    family_half_s: float
    """Half of the interval that all rows together keep with 95 %."""
    theory_s: float

    @property
    def inside(self) -> bool:
        return abs(self.simulated_s - self.theory_s) <= self.half_s

    @property
    def inside_family(self) -> bool:
        return abs(self.simulated_s - self.theory_s) <= self.family_half_s


def cases(loads: Sequence[float] = LOADS) -> Iterator[Case]:
    """Every queue at every load."""
    for load in loads:
        streams = [Stream(n, load / 3 / one.mean_s, one) for n, one in _SERVICES.items()]
        yield _open("M/G/1 FCFS", load, "sequential", streams, mg1.fcfs(streams))
        yield _open(
            "non-preemptive priority",
            load,
            "priority-queue",
            streams,
            priority.nonpreemptive(streams),
        )
        yield _open(
            "preemptive-resume priority",
            load,
            "cotenant",
            streams,
            priority.preemptive(streams),
        )
        yield _shared(load)
        yield _swapping(load)


def replicate(
    case: Case, replications: int, rng: np.random.Generator, scale: float = 1.0
) -> list[Row]:
    """Simulate a case so often, each time with random numbers of its own."""
    means = [_once(case, own, scale) for own in rng.spawn(replications)]
    rows = []
    for group, theory_s in case.theory_s.items():
        seen_s = np.array([mean_s[group] for mean_s in means])
        error_s = float(seen_s.std(ddof=1)) / replications**0.5
        plain = float(stats.t.ppf(0.975, replications - 1))
        family = float(stats.t.ppf(1.0 - 0.025 / rows_of_all(), replications - 1))
        rows.append(
            Row(
                case.queue,
                case.load,
                group,
                float(seen_s.mean()),
                plain * error_s,
                family * error_s,
                theory_s,
            )
        )
    return rows


def rows_of_all() -> int:
    """How many comparisons the whole family has."""
    return len(LOADS) * (4 * len(_SERVICES) + 1)


def mean_sojourns(
    case: Case, requests: int, rng: np.random.Generator, warmup: int
) -> tuple[dict[str, float], list[Record]]:
    """One simulation of a case: the mean of each group, and every counted record."""
    arrivals, services = rng.spawn(2)
    records: list[Record] = []
    scene = Scene(case.tasks, [_CPU], policy_by_name(case.policy), case.service(services))
    simulate(scene, requests, arrivals, records.append, warmup=warmup)
    groups: dict[str, list[float]] = {group: [] for group in case.theory_s}
    for record in records:
        groups[case.group(record.task)].append(record.sojourn_s)
    return {group: float(np.mean(seen)) for group, seen in groups.items()}, records


def swap_case(queue: str, load: float, models: Mapping[str, tuple[Service, float]]) -> Case:
    """Models that displace each other, asked for equally often, first come first served."""
    other = 1.0 - 1.0 / len(models)
    whole_s = sum(service.mean_s + other * swap_s for service, swap_s in models.values())
    streams = [Stream(name, load / whole_s, service) for name, (service, _) in models.items()]
    swapped = [swap.Swapped(one, models[one.name][1]) for one in streams]
    tasks = tuple(_task(one.name, one.rate_rps) for one in streams)

    def service(rng: np.random.Generator) -> ServiceTime:
        laws = {one.name: gamma_law(one.service.mean_s, one.service.scv**0.5) for one in streams}
        own_s, last = drawn(laws, tasks, rng), ""

        def taken_s(task: str, rows: int, segment: int) -> float:
            nonlocal last
            before, last = last, task
            return own_s(task, rows, segment) + (0.0 if task == before else models[task][1])

        return taken_s

    theory_s = _means(streams, swap.exact(swapped))
    return Case(queue, load, "sequential", tasks, service, theory_s)


def closed_sharing(clients: int, service_s: float, think_s: float) -> tuple[float, float]:
    """Mean sojourn and utilization of a closed loop around one shared server.

    Mean value analysis, exact whatever the laws of service and think times are (BCMP):
    R_n = S (1 + Q_{n-1}), X_n = n / (R_n + Z), Q_n = X_n R_n.

    >>> closed_sharing(1, 0.01, 0.03)
    (0.01, 0.25)
    """
    present = sojourn_s = rate_rps = 0.0
    for n in range(1, clients + 1):
        sojourn_s = service_s * (1.0 + present)
        rate_rps = n / (sojourn_s + think_s)
        present = rate_rps * sojourn_s
    return sojourn_s, rate_rps * service_s


def _once(case: Case, rng: np.random.Generator, scale: float) -> dict[str, float]:
    requests = max(200, int(scale * case.requests))
    return mean_sojourns(case, requests, rng, int(_WARM_UP * requests))[0]


def _open(
    queue: str, load: float, policy: str, streams: Sequence[Stream], answers: Sequence[Answer]
) -> Case:
    about = {"criticality": "critical"} if policy == "cotenant" else {}
    tasks = tuple(
        _task(one.name, one.rate_rps, priority=len(streams) - rank, **about)
        for rank, one in enumerate(streams)
    )
    laws = {one.name: gamma_law(one.service.mean_s, one.service.scv**0.5) for one in streams}
    theory_s = _means(streams, answers)
    return Case(queue, load, policy, tasks, lambda rng: drawn(laws, tasks, rng), theory_s)


def _shared(load: float) -> Case:
    """A task has one launch in flight, so each client of the shared server has its own task."""
    think_s = _think_s(load)
    loop = {"kind": "closed-loop", "clients": 1, "think": think_s}
    tasks = tuple(
        Task.model_validate({"name": f"client{n}", "model": "m", "arrivals": loop})
        for n in range(_CLIENTS)
    )
    laws = {task.name: gamma_law(_SHARED_S, 1.0) for task in tasks}
    mean_s, _ = closed_sharing(_CLIENTS, _SHARED_S, think_s)
    return Case(
        "processor sharing",
        load,
        "concurrent",
        tasks,
        lambda rng: drawn(laws, tasks, rng),
        {"clients": mean_s},
        lambda task: "clients",
    )


def _think_s(load: float) -> float:
    """The think time with which the clients keep the shared server this busy."""
    low_s, high_s = 0.0, _CLIENTS * _SHARED_S / load
    for _ in range(60):
        middle_s = (low_s + high_s) / 2.0
        _, busy = closed_sharing(_CLIENTS, _SHARED_S, middle_s)
        low_s, high_s = (middle_s, high_s) if busy > load else (low_s, middle_s)
    return low_s


def _swapping(load: float) -> Case:
    models = {name: (one, _SWAPS_S[name]) for name, one in _SERVICES.items()}
    return swap_case("model swap", load, models)


def _task(name: str, rate_rps: float, **about: object) -> Task:
    """A task whose queue is so long that nothing is turned away."""
    arrivals = {"kind": "poisson", "rate": rate_rps}
    content = {"name": name, "model": "m", "arrivals": arrivals, "queue": {"max_size": 1_000_000}}
    return Task.model_validate(content | about)


def _means(streams: Sequence[Stream], answers: Sequence[Answer]) -> dict[str, float]:
    return {
        stream.name: answer.mean_s
        for stream, answer in zip(streams, answers, strict=True)
        if isinstance(answer, Sojourn)
    }
