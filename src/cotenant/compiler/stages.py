"""A program's steps go in; the same steps, in stages that can run side by side, come out.

A step depends on an earlier one if it reads or writes what that one writes, or writes what that
one reads. Its stage is the number of steps on the longest path of dependences that leads to it,
so there are as many stages as the longest path has steps, and no fewer would do. Aaron (SenSys
'22) groups independent branches of a graph in this way.
"""

from typing import NamedTuple

from cotenant.compiler.program import Program, Step


class Staged(NamedTuple):
    """A step and its place in the order of things."""

    step: Step
    stage: int


def staged(program: Program) -> tuple[Staged, ...]:
    """Steps by stage, and within a stage in the program's order.

    Any order of the steps of one stage is right, and so is running them at the same time, as
    long as a stage begins when the one before has ended.
    """
    read: dict[str, int] = {}
    """The last stage in which a value is read; so is the next."""
    written: dict[str, int] = {}
    found: list[Staged] = []
    for step in program.steps:
        writes = set(step.arguments) if step.writes is None else step.writes
        writes = {name for name in writes if name not in program.constants}
        stage = max(
            0,
            *(written.get(name, -1) + 1 for name in step.arguments),
            *(read.get(name, -1) + 1 for name in writes),
        )
        read |= {name: max(stage, read.get(name, 0)) for name in step.arguments}
        written |= {name: max(stage, written.get(name, 0)) for name in writes}
        found.append(Staged(step, stage))
    return tuple(sorted(found, key=lambda one: one.stage))


def together(program: Program) -> int:
    """How many steps have at least one other step in their stage."""
    stages = [one.stage for one in staged(program)]
    return sum(stages.count(stage) > 1 for stage in stages)
