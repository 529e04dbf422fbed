"""The steps of a program go in; a place in one arena for every value comes out.

Two values may share bytes if the stages from the first to the last use of the one do not
overlap those of the other: steps of one stage run in any order, or at once. Values are placed
by falling size, each in the lowest gap that is free while it lives: greedy by size, which stays
close to the largest sum of values alive at once.
"""

from collections.abc import Mapping
from typing import NamedTuple

from cotenant.compiler.program import Program
from cotenant.compiler.stages import staged

ALIGNMENT_BYTES = 256
"""Enough for a sub-buffer on the devices that we know."""


class Place(NamedTuple):
    """Where a value lies in the arena."""

    offset_bytes: int
    size_bytes: int


class Arena(NamedTuple):
    """One piece of memory for all values of a program."""

    size_bytes: int
    places: Mapping[str, Place]


def plan_arena(program: Program) -> Arena:
    """Place every value that is no constant, for steps that run as `staged` has them."""
    lives = _lives(program)
    placed: dict[str, Place] = {}
    for name in sorted(lives, key=lambda name: (-program.sizes_bytes[name], name)):
        first, last = lives[name]
        beside = sorted(
            place
            for other, place in placed.items()
            if lives[other][0] <= last and first <= lives[other][1]
        )
        placed[name] = Place(_gap(beside, program.sizes_bytes[name]), program.sizes_bytes[name])
    size_bytes = max((_end(place) for place in placed.values()), default=0)
    return Arena(size_bytes, placed)


def _lives(program: Program) -> dict[str, tuple[int, int]]:
    """First and last stage of each value; inputs are there before, outputs after all stages."""
    lives = dict.fromkeys(program.input_values, (-1, -1))
    for step, stage in staged(program):
        for name in step.arguments:
            if name in program.sizes_bytes:
                first, _ = lives.get(name, (stage, stage))
                lives[name] = first, stage
    for name in program.output_values:
        if name in program.sizes_bytes:
            lives[name] = lives[name][0], len(program.steps)
    return lives


def _gap(beside: list[Place], size_bytes: int) -> int:
    offset = 0
    for place in beside:
        if offset + size_bytes <= place.offset_bytes:
            break
        offset = max(offset, _end(place))
    return offset


def _end(place: Place) -> int:
    return -(-(place.offset_bytes + place.size_bytes) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
