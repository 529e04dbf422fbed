"""Records of one task under one policy go in, arrays by round and plain figures come out.

Only requests that were due inside a phase's window count, and every one of them does: a
refused, failed or late one lowers attainment and goodput. Quantiles are those of the
answered requests; what was not answered stands beside them as `dropped`.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cotenant.bench.records import Observation, Phase, Records
from cotenant.core.record import Outcome

Samples = npt.NDArray[np.float64]

_SLICE_S = 1.0


class Round(NamedTuple):
    """What one task went through in one phase."""

    phase: Phase
    due: tuple[Observation, ...]
    """Requests that were due inside the window."""
    all: tuple[Observation, ...]
    """Those of the warm-up as well, which may end inside the window."""


class Sample(NamedTuple):
    """One task under one policy, over all rounds."""

    rounds: tuple[Round, ...]
    slo_s: float | None

    def by_round(self) -> Mapping[int, "Sample"]:
        """Each round as a sample of its own."""
        return {one.phase.round: self._replace(rounds=(one,)) for one in self.rounds}

    @property
    def due(self) -> int:
        return sum(len(one.due) for one in self.rounds)

    @property
    def window_s(self) -> float:
        return sum(one.phase.end_s - one.phase.start_s for one in self.rounds)

    @property
    def dropped(self) -> int:
        """Requests that were due and got no result."""
        return sum(one.outcome is not Outcome.OK for each in self.rounds for one in each.due)

    @property
    def unanswered(self) -> int:
        """Requests that were due and got no answer of any kind."""
        return sum(one.status is None for each in self.rounds for one in each.due)

    @property
    def attainment(self) -> float | None:
        """Share of the requests due that were answered well and in time."""
        within = sum(self.within(one) for each in self.rounds for one in each.due)
        return within / self.due if self.due else None

    @property
    def throughput_rps(self) -> float:
        return self._rate_rps(lambda one: one.outcome is Outcome.OK)

    @property
    def goodput_rps(self) -> float:
        """Answers per second that came within the SLO; all of them where there is none."""
        return self._rate_rps(self.within)

    @property
    def service_s(self) -> float | None:
        """Mean time inside the model; as the client sees it where the server keeps no count."""
        told = [
            one.phase.service_s[one.all[0].task]
            for one in self.rounds
            if one.all and one.all[0].task in one.phase.service_s
        ]
        if told:
            return float(np.mean(told))
        latencies_s = self.latencies_s()
        return float(np.concatenate(latencies_s).mean()) if latencies_s else None

    def within(self, one: Observation) -> bool:
        """Answered well, and within the SLO if there is one."""
        return one.outcome is Outcome.OK and (self.slo_s is None or one.latency_s <= self.slo_s)

    def latencies_s(self) -> list[Samples]:
        """Latency of the answered requests, from when each was due; one array per round."""
        arrays = [
            np.array([one.latency_s for one in each.due if one.outcome is Outcome.OK])
            for each in self.rounds
        ]
        return [array for array in arrays if array.size]

    def sliced_rates_rps(self) -> list[Samples]:
        """Throughput in slices of about a second; one array per round."""
        slices = []
        for each in self.rounds:
            length_s = each.phase.end_s - each.phase.start_s
            number = max(1, round(length_s / _SLICE_S))
            edges_s = np.linspace(each.phase.start_s, each.phase.end_s, number + 1)
            ended = [one for one in each.all if one.outcome is Outcome.OK]
            slices.append(shares_done(ended, edges_s) / np.diff(edges_s))
        return slices

    def _rate_rps(self, counts: Callable[[Observation], bool]) -> float:
        total = 0.0
        for each in self.rounds:
            edges_s = np.array([each.phase.start_s, each.phase.end_s])
            total += float(shares_done([one for one in each.all if counts(one)], edges_s).sum())
        return total / self.window_s if self.window_s else 0.0


def shares_done(observations: Sequence[Observation], edges_s: Samples) -> Samples:
    """How many requests each slice of time has done; shape [edges - 1].

    A request that spans an edge counts on both sides, by the share of its stay that lies
    there; so a slow model's throughput is not rounded to whole answers per window.
    """
    sent_s = np.array([one.sent_s if one.sent_s else one.end_s for one in observations])
    end_s = np.array([one.end_s for one in observations])
    inside_s = np.minimum(end_s[:, None], edges_s[None, 1:]) - np.maximum(
        sent_s[:, None], edges_s[None, :-1]
    )
    stay_s = np.maximum(end_s - sent_s, 1e-9)
    done: Samples = (np.clip(inside_s, 0.0, None) / stay_s[:, None]).sum(axis=0)
    return done


Key = tuple[str, str, str]
"""Scenario, policy, task."""


def samples_by_key(records: Records) -> Mapping[Key, Sample]:
    """Sort a whole file by scenario, policy and task."""
    seen: dict[tuple[str, str, int, str], list[Observation]] = defaultdict(list)
    for one in records.observations:
        seen[one.scenario, one.policy, one.round, one.task].append(one)
    slo_s = {
        (scenario["name"], task["name"]): task["slo"]["latency_s"] if task["slo"] else None
        for scenario in records.header["scenarios"]
        for task in scenario["tasks"]
    }
    rounds: dict[Key, list[Round]] = defaultdict(list)
    for phase in records.phases:
        for task in phase.tasks:
            everything = tuple(seen[phase.scenario, phase.policy, phase.round, task])
            due = tuple(one for one in everything if phase.start_s <= one.scheduled_s < phase.end_s)
            rounds[phase.scenario, phase.policy, task].append(Round(phase, due, everything))
    return {key: Sample(tuple(each), slo_s[key[0], key[2]]) for key, each in rounds.items()}
