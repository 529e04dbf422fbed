"""A profile goes in; the same profile with each task's time at the server's front comes out.

A client sees more than the machine's own service: protocol, tensors on the wire, and the way to
the lane. Every task is asked alone, at a calm pace, by the load generator that will measure it
later; what its client waits beyond the service that the server recorded is the front.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from cotenant.bench.load import LoadGenerator, LoadPlan, TaskLoad
from cotenant.bench.servers import HOST, SERVE, Server
from cotenant.core.errors import ExecutionError
from cotenant.core.record import Outcome
from cotenant.core.workload import Workload
from cotenant.profiling.profile import LEVELS, Profile, ServiceTime, Subject

REQUESTS = 40
RECORDS_OF_FRONT = "front.jsonl"
_WARM_UP = 4
_GAP_S = 0.05
_DRAIN_S = 30.0


class Alone(NamedTuple):
    """What one task's requests took, as its client and as the server saw them; medians."""

    front_s: float
    service_s: float


def has_front(profile: Profile, subjects: Sequence[Subject]) -> bool:
    """Whether every one of them was measured from the client's side, too."""
    known = {one.subject for one in profile.alone if one.front_s is not None}
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

    The service is corrected to the server's own: there its lane shares a core with the front.

    Raises:
        ExecutionError: the server does not start, or answers and records differ.
    """
    records = folder / RECORDS_OF_FRONT
    records.unlink(missing_ok=True)
    latencies_s: dict[str, list[float]] = {}
    with Server(workload, workload.policy, folder, (*program, "--records", str(records))) as server:
        server.wait_ready()
        for task, subject in zip(workload.tasks, subjects, strict=True):
            asking(task.name)
            [known] = [o for o in profile.alone if o.subject == subject and o.batch == 1]
            lasting_s = (REQUESTS + _WARM_UP) * (known.service.mean_s + _GAP_S)
            latencies_s[task.name] = _ask(task.name, lasting_s, server, generator, seed)
    services_s = _services_s(records)
    found = {
        subject: _alone(task.name, latencies_s[task.name], services_s.get(task.name, []))
        for task, subject in zip(workload.tasks, subjects, strict=True)
    }
    return profile.model_copy(
        update={
            "alone": tuple(
                one.model_copy(
                    update={
                        "front_s": found[one.subject].front_s,
                        "service": _moved(one.service, found[one.subject].service_s)
                        if one.batch == 1
                        else one.service,
                    }
                )
                if one.subject in found
                else one
                for one in profile.alone
            )
        }
    )


def _ask(
    task: str, lasting_s: float, server: Server, generator: LoadGenerator, seed: int
) -> list[float]:
    """Latencies in the order of sending: one client, who pauses after each answer."""
    plan = LoadPlan(
        host=HOST,
        port=server.port,
        seed=seed,
        warm_up_s=0.0,
        seconds_s=lasting_s,
        drain_s=_DRAIN_S,
        loads=(TaskLoad(task, None, clients=1, think_s=_GAP_S),),
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


def _alone(task: str, latencies_s: Sequence[float], services_s: Sequence[float]) -> Alone:
    if len(latencies_s) <= _WARM_UP or len(latencies_s) != len(services_s):
        raise ExecutionError(
            f"task {task!r} was asked alone and answered {len(latencies_s)} times, and the server "
            f"recorded {len(services_s)}; read its log beside the records, and run the bench again"
        )
    latency_s, service_s = (np.array(one[_WARM_UP:]) for one in (latencies_s, services_s))
    # Request by request, so that what disturbed one service does not count as front.
    front_s = float(np.median(latency_s - service_s))
    return Alone(max(0.0, front_s), float(np.median(service_s)))


def _moved(service: ServiceTime, median_s: float) -> ServiceTime:
    """The same shape about another median."""
    factor = median_s / service.quantiles_s[LEVELS.index(0.5)]
    return service.model_copy(
        update={
            "mean_s": service.mean_s * factor,
            "second_moment_s2": service.second_moment_s2 * factor**2,
            "quantiles_s": tuple(factor * one for one in service.quantiles_s),
        }
    )
