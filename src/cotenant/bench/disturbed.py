"""Records go in; those of rounds in which something else held the machine are told apart.

A round is known by its phases alone, in which no policy has a say: where a task alone took much
longer than in the other rounds, nothing that was measured in that round tells of a policy.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from cotenant.bench.figures import samples_by_key
from cotenant.bench.records import ALONE, Memory, Observation, Pause, Phase, Records

MUCH = 1.5
"""Times the middle of all rounds; rounds of a quiet machine differ by a tenth."""
_LEAST_ROUNDS = 3
"""Fewer have no middle."""


class Disturbed(NamedTuple):
    """A round of a scenario that does not count."""

    scenario: str
    round: int
    task: str
    """The one that suffered most of those that were alone."""
    slower: float
    """Its median latency over the middle of all rounds."""


def disturbed_rounds(records: Records) -> tuple[Disturbed, ...]:
    """Rounds to leave out, in their order."""
    worst: dict[tuple[str, int], Disturbed] = {}
    for (scenario, policy, task), sample in samples_by_key(records).items():
        if policy != ALONE:
            continue
        medians_s = {
            number: float(np.median(np.concatenate(one.latencies_s())))
            for number, one in sample.by_round().items()
            if one.latencies_s()
        }
        if len(medians_s) < _LEAST_ROUNDS:
            continue
        middle_s = float(np.median(list(medians_s.values())))
        for number, median_s in medians_s.items():
            found = Disturbed(scenario, number, task, median_s / middle_s)
            before = worst.get((scenario, number))
            if found.slower > MUCH and (before is None or found.slower > before.slower):
                worst[scenario, number] = found
    return tuple(worst[place] for place in sorted(worst))


def without(records: Records, disturbed: Iterable[Disturbed]) -> Records:
    """The records of all other rounds."""
    left_out = {(one.scenario, one.round) for one in disturbed}

    def counts(line: Phase | Observation | Memory | Pause) -> bool:
        return (line.scenario, line.round) not in left_out

    return records._replace(
        phases=tuple(filter(counts, records.phases)),
        observations=tuple(filter(counts, records.observations)),
        memory=tuple(filter(counts, records.memory)),
        pauses=tuple(filter(counts, records.pauses)),
    )
