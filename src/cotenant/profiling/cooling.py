"""Service times after pauses of three lengths go in; how fast a machine cools comes out.

After a rest of t the warmth that is left is taken to be exp(-t / c). With S, B and W the mean
times after the usual pause g, after a brief one b and back to back, the part of what warmth spares
that is still there after b is

    (S - B) / (S - W) = (exp(-b / c) - exp(-g / c)) / (1 - exp(-g / c)),

which is solved for c, with both differences taken relative to S and summed over all models.
In turns with few others a model still finds some of its own. With u the time since it ran last, and
T what it took in turns, it takes with nothing of its own

    O = (T - exp(-u / c) W) / (1 - exp(-u / c)).

`prediction/waking.py` applies what is found here.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cotenant.profiling.profile import PAUSE_S

BRIEF_S = 0.012
"""b."""
_LEAST_SPARED = 0.03
"""Of the usual times: where warmth spares less, how fast it is lost is neither seen nor felt."""
_FASTEST_S, _SLOWEST_S = 0.001, 0.2
_LEFT_MOST = 0.5
"""Of its own that a model in turns may be taken to find: noise would count more than twice."""


class Paused(NamedTuple):
    """Mean service times of one model, all in one unit."""

    usual_s: float
    brief_s: float
    back_to_back_s: float


def share_spared(left: float, cooling_s: float) -> float:
    """Of what warmth spares, the share while this much of the warmth is left.

    1 back to back, 0 after the usual pause, and a little under 0 after a longer one.

    >>> share_spared(1.0, 0.012), round(share_spared(math.exp(-BRIEF_S / 0.012), 0.012), 3)
    (1.0, 0.358)
    """
    asleep = math.exp(-PAUSE_S / cooling_s)
    return (left - asleep) / (1.0 - asleep)


def cooling_s(models: Sequence[Paused]) -> float | None:
    """c in seconds, within 1 to 200 ms; `None` where warmth spares too little to see it."""
    spared = sum((one.usual_s - one.back_to_back_s) / one.usual_s for one in models)
    if not models or spared < _LEAST_SPARED * len(models):
        return None
    left = sum((one.usual_s - one.brief_s) / one.usual_s for one in models) / spared
    low_s, high_s = _FASTEST_S, _SLOWEST_S
    while high_s - low_s > 1e-3 * low_s:
        middle_s = math.sqrt(low_s * high_s)
        found = share_spared(math.exp(-BRIEF_S / middle_s), middle_s)  # it grows with c
        low_s, high_s = (middle_s, high_s) if found < left else (low_s, middle_s)
    return math.sqrt(low_s * high_s)


def with_nothing_left(
    in_turns: float, after_itself: float, own_rest_s: float, cooling_s: float
) -> float:
    """O, in the unit of the others.

    >>> round(with_nothing_left(0.9, 0.8, 0.012, 0.012), 3)
    0.958
    >>> with_nothing_left(0.9, 0.8, 1.0, 0.012)
    0.9
    """
    left = min(_LEFT_MOST, math.exp(-own_rest_s / cooling_s))
    return (in_turns - left * min(after_itself, in_turns)) / (1.0 - left)
