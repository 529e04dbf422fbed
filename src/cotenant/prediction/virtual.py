"""A mix goes in; how long each task stays, seen on a virtual clock, comes out.

Where no closed form holds (periodic beside Poisson arrivals, two best-effort launches side by
side, the guard, batches, full queues), the coordinator that serves runs here under its own
policy on `device/null`. Service times are drawn from the profile's quantiles; launches that are
in flight together slow each other by the measured factors of their pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cotenant.core.hardware import Capability, Component
from cotenant.core.record import Outcome, Record
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.device.null import Interference
from cotenant.policy import policy_by_name
from cotenant.prediction.station import Stay
from cotenant.prediction.tenancy import Mix, Tenancy, cores_of
from cotenant.prediction.waking import Paces, after, displaced
from cotenant.profiling.profile import LEVELS, Profile, ServiceTime
from cotenant.queueing.empirical import empirical
from cotenant.queueing.stream import Answer, Sojourn, Unstable
from cotenant.runtime.laws import Draw, ServiceLaw, drawn
from cotenant.runtime.simulate import Scene, simulate

METHOD = "virtual clock"
_WARM_UP = 0.1
"""Share of the requests that is served first and not counted."""
_LOOKS = 400_000
_FEWEST = 3_000


@dataclass(frozen=True)
class Budget:
    """How many requests a prediction may simulate."""

    requests: int = 10_000
    """At least, whatever the tasks' rates."""
    rarest: int = 0
    """As many of each open-loop task, so that its tail is known ..."""
    most: int = 200_000
    """... but never more than this in all."""

    def of(self, mix: Mix) -> int:
        rates_rps = [one.rate_rps for one in mix.calm if one.rate_rps is not None]
        wanted = self.rarest * sum(rates_rps) / min(rates_rps) if rates_rps else 0.0
        # A decision looks at every task, so many tasks make each request dearer.
        least = min(self.requests, max(_FEWEST, _LOOKS // len(mix.calm)))
        return int(min(self.most, max(least, wanted)))


class VirtualClock:
    """The predictor's way to simulate: same budget and same seed for every workload."""

    def __init__(self, budget: Budget | None = None, seed: int = 0) -> None:
        self._budget = budget or Budget()
        self._seed = seed

    def __call__(self, workload: Workload, profile: Profile, mix: Mix) -> Mapping[str, Stay]:
        rng, service_rng = np.random.default_rng(self._seed).spawn(2)
        scene = scene_of(workload, profile, mix, service_rng)
        requests = self._budget.of(mix)
        seen = {task.name: _Seen() for task in workload.tasks}
        ended = simulate(
            scene,
            requests,
            rng,
            lambda record: seen[record.task].add(record),
            warmup=int(_WARM_UP * requests),
        )
        return {
            one.task.name: _stay(one, seen[one.task.name], mix, ended.utilization, ended.span_s)
            for one in mix.calm
        }


def scene_of(workload: Workload, profile: Profile, mix: Mix, rng: np.random.Generator) -> Scene:
    """The workload on the machine of the profile, with the service times measured there."""
    laws = {one.task.name: _law(one) for one in mix.calm}
    return Scene(
        workload.tasks,
        components_of(workload, profile),
        policy_by_name(workload.policy),
        drawn(laws, workload.tasks, rng),
        interference_of(mix, workload.policy, profile.respite_s),
    )


def components_of(workload: Workload, profile: Profile) -> tuple[Component, ...]:
    """The machine of the profile, as far as scheduling is concerned."""
    capability = Capability.PREEMPTIVE if profile.preemptive else Capability.GATED
    return tuple(
        Component(name or "cpu", "null", own, capability)
        for name, own in cores_of(workload, profile).items()
    )


def quantile_draw(measured: ServiceTime, factor: float = 1.0) -> Draw:
    """Draws from the measured quantiles, straight lines between them; the mean is the measured."""
    levels, quantiles_s = np.array(LEVELS), np.array(measured.quantiles_s)
    scaled_s = quantiles_s * (factor * measured.mean_s / float(_mean_of(quantiles_s)))

    def draw(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
        return np.interp(rng.random(count), levels, scaled_s)

    return draw


def segment_draw(whole: ServiceTime, parts: Sequence[ServiceTime], factor: float = 1.0) -> Draw:
    """Draws times [request, segment] from each one's quantiles, with the moments of the whole.

    Segments of one request are slow together as often as the whole's spread says. With U the
    rank of a request in all its segments with probability p, and a rank for each segment else,

        Var[sum] = p Var[together] + (1 - p) Var[independent],

    which is solved for p. What passes between two segments counts as time of the segments.
    """
    levels = np.array(LEVELS)
    quantiles_s = np.array([one.quantiles_s for one in parts])  # [segment, level]
    quantiles_s *= (whole.mean_s / _mean_of(quantiles_s).sum()) * factor
    independent_s2 = float(_variance_of(quantiles_s).sum())
    together_s2 = float(_variance_of(quantiles_s.sum(axis=0)))
    wanted_s2 = (whole.second_moment_s2 - whole.mean_s**2) * factor**2
    span_s2 = together_s2 - independent_s2
    often = min(1.0, max(0.0, (wanted_s2 - independent_s2) / span_s2)) if span_s2 > 0.0 else 0.0

    def draw(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
        ranks = rng.random((count, len(parts)))
        ranks = np.where(rng.random((count, 1)) < often, ranks[:, :1], ranks)
        times_s = [
            np.interp(ranks[:, segment], levels, own) for segment, own in enumerate(quantiles_s)
        ]
        return np.stack(times_s, axis=1)

    return draw


def _mean_of(quantiles_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of a law whose quantiles [..., level] have straight lines between them."""
    low_s, high_s = quantiles_s[..., :-1], quantiles_s[..., 1:]
    return np.asarray(((low_s + high_s) / 2.0) @ np.diff(LEVELS))


def _variance_of(quantiles_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low_s, high_s = quantiles_s[..., :-1], quantiles_s[..., 1:]
    second_moment_s2 = ((low_s**2 + low_s * high_s + high_s**2) / 3.0) @ np.diff(LEVELS)
    return np.maximum(0.0, second_moment_s2 - _mean_of(quantiles_s) ** 2)


class _Seen:
    """What became of one task's requests."""

    def __init__(self) -> None:
        self.sojourns_s: list[float] = []
        self.lost = 0

    def add(self, record: Record) -> None:
        if record.outcome is Outcome.OK:
            self.sojourns_s.append(record.end_s - record.arrival_s)
        else:
            self.lost += 1


def _law(one: Tenancy) -> ServiceLaw:
    first, last = one.alone[0], one.alone[-1]
    share = 1.0
    if last.batch > 1:
        grown = last.service.mean_s / first.service.mean_s - 1.0
        share = min(1.0, max(0.0, grown / (last.batch - 1)))
    parts = first.by_segment
    return ServiceLaw(
        quantile_draw(first.service, one.read),
        share,
        segment_draw(first.service, parts, one.read) if parts else None,
    )


def interference_of(mix: Mix, policy: str, respite_s: float) -> Interference:
    """What the mix's tasks do to each other, as `device/null` asks for it."""
    critical = {one.task.name: one.task.critical for one in mix.calm}
    factors = {
        (task, other): 1.0 + excess
        for (task, other), excess in mix.excess.items()
        # Under the own policy what critical work costs best-effort work is interruptions.
        if policy != "cotenant" or critical[task] or not critical[other]
    }
    paces = {one.task.name: Paces.of(one.alone[0]) for one in mix.calm}
    unlike = any(one != 1.0 for each in paces.values() for one in each)

    def waking(task: str, own_rest_s: float, rest_s: float) -> float:
        return after(paces[task], own_rest_s, rest_s, mix.cooling_s)

    switched_s = {one.task.name: one.interruption_s for one in mix.calm}
    means_s = {one.task.name: one.alone[0].service.mean_s for one in mix.calm}

    def interruption_s(task: str, held_s: float) -> float:
        displaced_s = displaced(paces[task], held_s, mix.cooling_s) * means_s[task]
        return switched_s[task] + displaced_s

    def joining_s(task: str) -> float:
        # Who shares a core with one other stands still for as long as it runs.
        return interruption_s(task, means_s[task])

    answer_s = {one.task.name: one.answer_s for one in mix.calm}
    return Interference(
        (lambda task, other: factors.get((task, other), 1.0)) if factors else None,
        waking if unlike else None,
        interruption_s if unlike or any(switched_s.values()) else None,
        joining_s if unlike or any(switched_s.values()) else None,
        answer_s.__getitem__ if any(answer_s.values()) else None,
        respite_s,
    )


def _stay(
    one: Tenancy, seen: _Seen, mix: Mix, utilization: Mapping[str, float], span_s: float
) -> Stay:
    task, answered = one.task, len(seen.sojourns_s)
    felt = [other.task for other in mix.calm if _feels(task, other.task)]
    used = sum(utilization[other.name] for other in felt if other.name in utilization)
    throughput_rps = answered / span_s if one.rate_rps is None and span_s > 0.0 else None
    answer: Answer = Unstable(max(1.0, used), task.name)
    dropped = 1.0
    if answered:
        law = empirical(seen.sojourns_s)
        answer = Sojourn(law.mean_s, max(0.0, law.mean_s - one.service.mean_s), used, law)
        dropped = seen.lost / (answered + seen.lost)
    return Stay(answer, METHOD, True, throughput_rps, dropped)


def _feels(task: Task, other: Task) -> bool:
    return other is task or other.critical or not task.critical
