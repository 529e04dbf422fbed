"""What ran last on a component, and how long ago, go in; how fast the next service is comes out.

A machine that rests gets slow: its cores fall asleep, and its caches are lost to others. With S
the service time of a model that is asked now and then, with pauses of g, and wS the one back to
back, a service that starts after a rest of t takes S (1 - a (1 - w)), where

    a = (k exp(-t / c) - exp(-g / c)) / (1 - exp(-g / c)),

k = 1 after the model itself and the shared part of the warmth after any other: its cores are
awake, the caches are not its own. So a = 1 back to back, a = 0 after a pause of g, and a little
under 0 after a longer one. c is measured with the profile (`profiling/cooling.py`); k of others was
found on two cores of a virtual machine, over 6,000 requests that found it at rest. [D] What a
request spends at the server's front follows the same law with k = 1: it does the same for all.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cotenant.profiling.cooling import share_spared

SHARED = 0.5
"""Of the warmth, what any other model leaves behind."""


def awake(rest_s: float, own: bool, cooling_s: float) -> float:
    """The share a of the warmth that a service finds.

    >>> awake(0.0, True, 0.012), awake(0.05, True, 0.012)
    (1.0, 0.0)
    """
    return share_spared(math.exp(-rest_s / cooling_s) * (1.0 if own else SHARED), cooling_s)


class Traffic(NamedTuple):
    """The open arrivals of one task: requests per second, and seconds of each."""

    rate_rps: float
    service_s: float


def awake_on_average(
    own: Traffic, others: Sequence[Traffic], cooling_s: float, shared: float = SHARED
) -> float:
    """The same over a long time, of Poisson arrivals that meet a component now and then idle.

    An arrival finds it busy with the probability of its load, else at rest for an exponential time
    with the rate L of all arrivals: E exp(-t / c) = L c / (1 + L c). `shared` is k of the others.
    """
    rate_rps = own.rate_rps + sum(one.rate_rps for one in others)
    load = min(1.0, sum(one.rate_rps * one.service_s for one in (own, *others)))
    mine = own.rate_rps / rate_rps
    left = (mine + (1.0 - mine) * shared) * (
        load + (1.0 - load) * rate_rps * cooling_s / (1.0 + rate_rps * cooling_s)
    )
    return share_spared(left, cooling_s)
