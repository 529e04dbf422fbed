"""Models of the zoo go in; a profile of each in both criticalities, and of all pairs, comes out.

What `bench prediction` predicts from: measured once, before the first mix, by the same profiler
that `cotenant profile` uses, and then at the server's front (`bench/front.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cotenant.bench.front import has_front, with_front
from cotenant.bench.load import LoadGenerator
from cotenant.bench.mixes import AloneTimes
from cotenant.bench.servers import SERVE
from cotenant.core.task import Criticality, Poisson, Task
from cotenant.core.workload import Workload
from cotenant.profiling.measure import Effort, Progress, measure
from cotenant.profiling.profile import Profile
from cotenant.profiling.subject import subject_of

EFFORT = Effort(requests=12, rounds=6, tight=0.02)
_CALM_RPS = 30.0


def zoo_workload(models: Sequence[str], policy: str) -> Workload:
    """Each model twice: once critical, once best-effort."""
    return Workload(
        name="zoo",
        policy=policy,
        tasks=tuple(
            Task(
                name=f"{model}-{kind.value}",
                model=f"zoo:{model}",
                criticality=kind,
                arrivals=Poisson(kind="poisson", rate_rps=_CALM_RPS),
            )
            for model in models
            for kind in Criticality
        ),
    )


def measured_profile(
    models: Sequence[str], policy: str, effort: Effort, seed: int, seen: Callable[[Progress], None]
) -> Profile:
    """Every model alone and every pair that may meet, without a network."""
    workload = zoo_workload(models, policy)
    return asyncio.run(measure(workload, effort, np.random.default_rng(seed), seen))


def completed_profile(
    profile: Profile,
    models: Sequence[str],
    folder: Path,
    *,
    seed: int,
    asking: Callable[[str], None],
    program: Sequence[str] = SERVE,
    generator_cores: Sequence[int] = (),
) -> Profile:
    """The profile with the time at the server's front, measured now where it is not known."""
    workload = zoo_workload(models, profile.policy)
    subjects = [subject_of(task, workload) for task in workload.tasks]
    for task, subject in zip(workload.tasks, subjects, strict=True):
        profile.service_of(subject, task)  # says which model the profile lacks
    if has_front(profile, subjects):
        return profile
    known = {one.subject for one in profile.alone}
    asked = [
        (task, subject)
        for task, subject in zip(workload.tasks, subjects, strict=True)
        if subject in known
    ]
    chosen = workload.model_copy(update={"tasks": tuple(task for task, _ in asked)})
    with LoadGenerator(generator_cores) as generator:
        return with_front(
            profile,
            chosen,
            [subject for _, subject in asked],
            generator,
            folder,
            seed=seed,
            asking=asking,
            program=program,
        )


def alone_times(profile: Profile, models: Sequence[str]) -> AloneTimes:
    """Mean service time of each model in each criticality.

    Raises:
        WorkloadError: the profile lacks one of them.
    """
    workload = zoo_workload(models, profile.policy)
    return {
        (task.model.removeprefix("zoo:"), task.criticality): profile.service_of(
            subject_of(task, workload), task
        )[0].service.mean_s
        for task in workload.tasks
    }
