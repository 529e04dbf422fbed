"""A profile goes in; the same profile with each task's time at the server's front comes out.

A client sees more than the machine's own record: protocol, tensors on the wire, and the way to
the lane. Every task is asked alone, at a calm pace, by the load generator that will measure it
later; what its client waits beyond the service that the server's statistics tell is the front.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cotenant.bench.load import LoadGenerator, LoadPlan, TaskLoad
from cotenant.bench.mixed import service_means
from cotenant.bench.servers import HOST, SERVE, Server
from cotenant.core.errors import ExecutionError
from cotenant.core.record import Outcome
from cotenant.core.workload import Workload
from cotenant.profiling.profile import Profile, ServiceTime, Subject

REQUESTS = 40
_WARM_UP = 4
_GAP_S = 0.05
_DRAIN_S = 30.0


class Alone:
    """What one task's requests took, as its client and as the server saw them."""

    def __init__(self, latency_s: float, service_s: float) -> None:
        self.front_s = max(0.0, latency_s - service_s)
        self.service_s = service_s


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
        ExecutionError: the server does not start, or a task does not answer.
    """
    found: dict[Subject, Alone] = {}
    with Server(workload, workload.policy, folder, program) as server:
        server.wait_ready()
        for task, subject in zip(workload.tasks, subjects, strict=True):
            asking(task.name)
            [known] = [o for o in profile.alone if o.subject == subject and o.batch == 1]
            pace_s = known.service.mean_s + _GAP_S
            found[subject] = _ask(task.name, pace_s, server, generator, seed)
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


def _ask(task: str, pace_s: float, server: Server, generator: LoadGenerator, seed: int) -> Alone:
    before = {task: server.inference_time(task)}
    offsets_s = tuple(pace_s * place for place in range(REQUESTS + _WARM_UP))
    plan = LoadPlan(
        host=HOST,
        port=server.port,
        seed=seed,
        warm_up_s=_WARM_UP * pace_s,
        seconds_s=REQUESTS * pace_s,
        drain_s=_DRAIN_S,
        loads=(TaskLoad(task, offsets_s),),
    )
    driven = generator.drive(plan)
    latencies_s = [one.end_s - one.scheduled_s for one in driven.seen if one.outcome is Outcome.OK]
    service_s = service_means(before, server).get(task)
    if not latencies_s or service_s is None:
        raise ExecutionError(
            f"task {task!r} answered nothing while it was alone; "
            f"read the server's log {str(server.log_path)!r}"
        )
    # Both are means over the same requests, so that what disturbed some of them cancels.
    return Alone(float(np.mean(latencies_s)), service_s)


def _moved(service: ServiceTime, mean_s: float) -> ServiceTime:
    factor = mean_s / service.mean_s
    return service.model_copy(
        update={
            "mean_s": mean_s,
            "second_moment_s2": service.second_moment_s2 * factor**2,
            "quantiles_s": tuple(factor * one for one in service.quantiles_s),
        }
    )
