"""Schedules of a kernel go in; the few that pad a busy device best come out.

A best-effort kernel runs in what a critical one leaves. With N_rt and N_be blocks of S_rt and
S_be threads on N_SM multiprocessors of L threads (Miriam, arXiv 2307.04339, as recalled):

    it fits       N_be <= N_SM - (N_rt mod N_SM)   and   S_be <= L - S_rt
    WIScore     = ((N_rt mod N_SM) + N_be) / N_SM * (S_rt + S_be) / L
    OScore      = 1 if what the shards cost to start is under a limit, else 0
    kept are the best 20 % by WIScore * OScore, and at least one.

What is ours: a compiler does not know the critical kernel, so WIScore is the mean over every
remainder N_rt mod N_SM and over S_rt = L/4, L/2, 3L/4, each with the widest shard that fits,
0 where none does. Elastic kernels take any width, in one launch, and what a shard costs there
is the claim of each tile: OScore is 1 if a claim takes at most a quarter of the time of a
tile, whose every multiplication waits for the one before. A block must leave half of the
registers and of the shared memory to the critical one. Among equals, higher occupancy wins,
then less padding, then fewer reads.

WIScore knows nothing of memory traffic, and always likes large blocks. So the best of each
*family* are kept, of schedules that read memory in the same way with as many threads, and
measuring is left to decide between families.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from cotenant.compiler.occupancy import WARP, Limits, Need, occupancy, resident_blocks

KEPT = 0.2
_CLAIM_CYCLES = 500.0
"""An atomic addition on memory and two barriers."""
_MULTIPLICATION_CYCLES = 4.0
_CLAIM_PART_MAX = 0.25
_CRITICAL_PARTS = (0.25, 0.5, 0.75)
"""S_rt / L."""


class Candidate(NamedTuple):
    """One schedule that a kernel could have."""

    family: str
    need: Need
    multiplications: float
    """Of the whole kernel, with those that padding adds."""
    reads: float
    """Elements that it reads past its registers and shared memory."""


def wi_score(
    critical_blocks: int, critical_threads: int, blocks: int, threads: int, limits: Limits
) -> float:
    """Miriam's WIScore of two kernels side by side; 0 if they do not fit.

    >>> from cotenant.compiler.occupancy import limits_of
    >>> wi_score(20, 768, 12, 384, limits_of("sm_87"))  # (4 + 12)/16 * (768 + 384)/1536
    0.75
    >>> wi_score(20, 768, 13, 384, limits_of("sm_87"))
    0.0
    """
    left = critical_blocks % limits.units
    if blocks > limits.units - left or threads > limits.unit_threads - critical_threads:
        return 0.0
    wide = (left + blocks) / limits.units
    return wide * (critical_threads + threads) / limits.unit_threads


def o_score(candidate: Candidate) -> int:
    """1 if claiming a tile is cheap beside working on it.

    >>> need = Need(blocks=10, threads=100, shared_bytes=0, registers=None)
    >>> o_score(Candidate("a", need, 1e6, 0)), o_score(Candidate("a", need, 1e5, 0))
    (1, 0)
    """
    need = candidate.need
    each = candidate.multiplications / max(1, need.blocks * need.threads)
    return int(_CLAIM_PART_MAX * _MULTIPLICATION_CYCLES * each >= _CLAIM_CYCLES)


def leaves_room(need: Need, limits: Limits) -> bool:
    """Whether a block can run, and leaves half of a multiprocessor to a critical one.

    >>> from cotenant.compiler.occupancy import limits_of
    >>> leaves_room(Need(1, 1024, 0, registers=32), limits_of("sm_87"))
    True
    >>> leaves_room(Need(1, 1024, 0, registers=33), limits_of("sm_87"))
    False
    """
    registers = (need.registers or 0) * -(-need.threads // WARP) * WARP
    return (
        resident_blocks(need, limits) > 0
        and (limits.unit_registers is None or 2 * registers <= limits.unit_registers)
        and 2 * need.shared_bytes <= limits.unit_shared_bytes
    )


def score(candidate: Candidate, limits: Limits) -> float:
    """WIScore * OScore, in [0, 1]; 0 as well for what leaves a critical block no room."""
    need = candidate.need
    if not leaves_room(need, limits):
        return 0.0
    found = [
        wi_score(
            left,
            int(part * limits.unit_threads),
            min(need.blocks, limits.units - left),
            need.threads,
            limits,
        )
        for left in range(limits.units)
        for part in _CRITICAL_PARTS
    ]
    return sum(found) / len(found) * o_score(candidate)


def best(candidates: Mapping[str, Candidate], limits: Limits, at_most: int) -> tuple[str, ...]:
    """Names of the best 20 % of each family, at least one of each, best first.

    What no multiprocessor can hold is never among them. Beyond `at_most`, families lose their
    last ones in turn.
    """
    possible = {
        name: one for name, one in candidates.items() if resident_blocks(one.need, limits) > 0
    }
    rank = {
        name: (
            -score(one, limits),
            -occupancy(one.need, limits),
            one.multiplications,
            one.reads,
            name,
        )
        for name, one in possible.items()
    }
    ranked = sorted(possible, key=rank.__getitem__)
    places: list[tuple[int, int, str]] = []
    for family in {one.family for one in possible.values()}:
        members = [name for name in ranked if possible[name].family == family]
        kept = members[: max(1, math.floor(KEPT * len(members)))]
        places += [(place, ranked.index(name), name) for place, name in enumerate(kept)]
    return tuple(name for _, _, name in sorted(places)[:at_most])
