"""The stage of each step goes in; which steps may run side by side comes out.

A bundle's steps come stage by stage. Those of one stage do not depend on each other, and the
arena gives none of them bytes that another of them uses.
"""

from collections.abc import Sequence
from itertools import pairwise


def check_stages(stages: Sequence[int]) -> str | None:
    """What is wrong with them; `None` where nothing is.

    >>> check_stages([0, 1, 1, 2])
    >>> check_stages([0, 2])
    'step 1 is in stage 2, behind stage 0'
    """
    before = -1
    for number, stage in enumerate(stages):
        if stage not in (max(0, before), before + 1):
            return f"step {number} is in stage {stage}, behind stage {max(0, before)}"
        before = stage
    return None


def grouped(stages: Sequence[int]) -> tuple[range, ...]:
    """Numbers of the steps of each stage.

    >>> grouped([0, 1, 1, 2])
    (range(0, 1), range(1, 3), range(3, 4))
    """
    starts = [
        number for number, stage in enumerate(stages) if number == 0 or stage != stages[number - 1]
    ]
    return tuple(range(a, b) for a, b in pairwise([*starts, len(stages)]))
