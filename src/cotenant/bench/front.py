"""A profile goes in; the same profile with each task's time at the server's front comes out.

A client sees more than the machine's own service: protocol, tensors on the wire, and the way to
the lane. Every task is asked alone by the load generator that will measure it later, at a calm
pace and then back to back; what its client waits beyond the service that the server recorded is
the front. The two paces differ because cores that rest fall asleep. What the front takes from other
tasks is less than that wait: the processor time of the server's own process, without its lanes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from cotenant.bench.load import LoadGenerator, LoadPlan, TaskLoad
from cotenant.bench.servers import HOST, SERVE, Server
from cotenant.core.clock import processor_time_s
from cotenant.core.errors import ExecutionError
from cotenant.core.record import Outcome
from cotenant.core.workload import Workload
from cotenant.profiling.estimate import median_of_means, pooled
from cotenant.profiling.profile import Profile, ServiceTime, Subject, service_time

PASSES = 2
"""Over all tasks, so that a machine that drifts does not favour one."""
REQUESTS = 50
"""Of each task in each pass."""
RECORDS_OF_FRONT = "front.jsonl"
_WARM_UP = 4
_STRETCH = 10
"""Requests whose mean is one observation of the mean."""
_GAP_S = 0.05
_FRONT_S = 0.001
"""About what a request needs beyond its service, so that there are enough of them."""
_DRAIN_S = 30.0


class Pace(NamedTuple):
    """One client's requests, one after the other, in the order of sending."""

    calm: bool
    """It paused after each answer."""
    latencies_s: Sequence[float]
    busy_s: float
    """Processor time of the server's own process meanwhile."""


class Alone(NamedTuple):
    """What one task's requests took, as its client and as the server saw them."""

    front_s: float
    service: ServiceTime
    warm_front_s: float
    """At the front, back to back."""
    front_busy_s: float
    """Processor time of the front for one request."""
    warm: float
    """Mean service back to back over that with pauses."""


def has_front(profile: Profile, subjects: Sequence[Subject]) -> bool:
    """Whether every one of them was measured from the client's side, too."""
    known = {
        one.subject
        for one in profile.alone
        if None not in (one.front_s, one.warm_front_s, one.front_busy_s)
    }
    return known.issuperset(subjects)


def with_front(
    profile: Profile,
    workload: Workload,
    subjects: Sequence[Subject],
    generator: LoadGenerator,
    folder: Path,
    *,
    seed: int,
    asking: Callable[[str], None] = lambda task: None,
    program: Sequence[str] = SERVE,
) -> Profile:
    """Ask every task of the workload alone; `subjects` stand in the same order.

    The service becomes the one that the server recorded: its lane shares a core with the front.

    Raises:
        ExecutionError: the server does not start, or answers and records differ.
    """
    records = folder / RECORDS_OF_FRONT
    records.unlink(missing_ok=True)
    asked = tuple(zip(workload.tasks, subjects, strict=True))
    paces: dict[str, list[Pace]] = {task.name: [] for task in workload.tasks}
    with Server(workload, workload.policy, folder, (*program, "--records", str(records))) as server:
        server.wait_ready()
        for _ in range(PASSES):
            for task, subject in asked:
                asking(task.name)
                [known] = [o for o in profile.alone if o.subject == subject and o.batch == 1]
                for calm in (True, False):
                    before_s = processor_time_s(server.pid)
                    latencies_s = ask_alone(
                        task.name,
                        known.service.mean_s + _FRONT_S,
                        REQUESTS + _WARM_UP,
                        calm=calm,
                        server=server,
                        generator=generator,
                        seed=seed,
                    )
                    busy_s = processor_time_s(server.pid) - before_s
                    paces[task.name].append(Pace(calm, latencies_s, busy_s))
    services_s = _services_s(records)
    found = {
        subject: _alone(task.name, paces[task.name], services_s.get(task.name, []))
        for task, subject in asked
    }
    return profile.model_copy(
        update={
            "alone": tuple(
                one.model_copy(
                    update={
                        "front_s": found[one.subject].front_s,
                        "warm_front_s": found[one.subject].warm_front_s,
                        "front_busy_s": found[one.subject].front_busy_s,
                        "warm": found[one.subject].warm,
                        "service": found[one.subject].service if one.batch == 1 else one.service,
                    }
                )
                if one.subject in found
                else one
                for one in profile.alone
            )
        }
    )


def ask_alone(
    task: str,
    expected_s: float,
    requests: int,
    *,
    calm: bool,
    server: Server,
    generator: LoadGenerator,
    seed: int,
) -> list[float]:
    """Latencies of one client, in the order of sending.

    Args:
        expected_s: how long each will take; if so, there are as many as were asked for.
        calm: pause after each answer, so long that the machine falls asleep.
    """
    gap_s = _GAP_S if calm else 0.0
    plan = LoadPlan(
        host=HOST,
        port=server.port,
        seed=seed,
        warm_up_s=0.0,
        seconds_s=requests * (expected_s + gap_s),
        drain_s=_DRAIN_S,
        loads=(TaskLoad(task, None, clients=1, think_s=gap_s),),
    )
    seen = generator.drive(plan).seen
    return [one.end_s - one.scheduled_s for one in seen if one.outcome is Outcome.OK]


def _services_s(records: Path) -> dict[str, list[float]]:
    """Service times by task from the server's own records, in the order of their ends."""
    found: dict[str, list[float]] = {}
    for line in records.read_bytes().splitlines():
        fields = orjson.loads(line)
        if fields["outcome"] == Outcome.OK:
            found.setdefault(fields["task"], []).append(fields["end_s"] - fields["start_s"])
    return found


def _alone(task: str, paces: Sequence[Pace], services_s: Sequence[float]) -> Alone:
    sizes = [len(one.latencies_s) for one in paces]
    seen = {calm: [one for one in paces if one.calm is calm] for calm in (True, False)}
    if sum(sizes) != len(services_s) or not all(
        any(len(one.latencies_s) > _WARM_UP for one in same) for same in seen.values()
    ):
        raise ExecutionError(
            f"task {task!r} was asked alone and answered {sum(sizes)} times, and the server "
            f"recorded {len(services_s)}; read its log beside the records, and run the bench again"
        )
    own_s = np.split(np.asarray(services_s, dtype=np.float64), np.cumsum(sizes)[:-1])
    fronts_s, means_s, pools_s = {}, {}, {}
    for calm in (True, False):
        kept = [
            (np.asarray(pace.latencies_s)[_WARM_UP:], service_s[_WARM_UP:])
            for pace, service_s in zip(paces, own_s, strict=True)
            if pace.calm is calm
        ]
        latency_s, service_s = (np.concatenate(part) for part in zip(*kept, strict=True))
        # A machine that was somebody else's for a moment spoils a few stretches, not the median.
        stretches = np.array_split(service_s, max(1, service_s.size // _STRETCH))
        pools_s[calm], means_s[calm] = stretches, median_of_means(stretches)
        # Request by request, so that what disturbed one service does not count as front.
        fronts_s[calm] = max(0.0, float(np.median(latency_s - service_s)))
    return Alone(
        front_s=fronts_s[True],
        service=service_time(pooled(pools_s[True])),
        warm_front_s=min(fronts_s.values()),
        # Between requests that come one by one it also looks around.
        front_busy_s=min(one.busy_s / len(one.latencies_s) for one in seen[False]),
        warm=means_s[False] / means_s[True],
    )
