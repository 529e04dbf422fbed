"""What ran last on a component, and how long ago, go in; how fast the next service is comes out.

A machine that rests gets slow: its cores fall asleep, and its caches are lost to others. With S
the mean service time of a model that is asked now and then, with pauses of g, a service that
starts after a rest of t takes

    S (1 - a(t) (1 - w)),    a(t) = (exp(-t / c) - exp(-g / c)) / (1 - exp(-g / c)),

so that a = 1 without a rest, a = 0 after a pause of g, and a little under 0 after a longer one. wS
is the mean time without a rest: after the model itself (cores awake, caches its own) or after
another one (cores awake, caches the other's, so that w may be over 1). Both, and c, are measured
with the profile (`profiling/cooling.py`). [D] What a request spends at the server's front follows
the same law whoever came last: the front does the same for all.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cotenant.profiling.cooling import share_spared
from cotenant.profiling.profile import Alone


def spared(rest_s: float, cooling_s: float) -> float:
    """The share a of what a service without a rest is spared.

    >>> spared(0.0, 0.012), spared(0.05, 0.012)
    (1.0, 0.0)
    """
    return share_spared(math.exp(-rest_s / cooling_s), cooling_s)


def after(at_once: float, rest_s: float, cooling_s: float) -> float:
    """How many times longer a service takes than with its usual pauses; `at_once` without a rest.

    >>> after(0.8, 0.0, 0.012), after(0.8, 0.05, 0.012)
    (0.8, 1.0)
    """
    if rest_s <= 0.0:  # most often, on a busy machine
        return at_once
    return 1.0 - spared(rest_s, cooling_s) * (1.0 - at_once)


class Traffic(NamedTuple):
    """Open arrivals: requests per second, and mean seconds of each."""

    rate_rps: float
    service_s: float

    @classmethod
    def of_all(cls, several: Sequence["Traffic"]) -> "Traffic":
        """All of them together.

        >>> Traffic.of_all([Traffic(3.0, 0.1), Traffic(1.0, 0.5)])
        Traffic(rate_rps=4.0, service_s=0.2)
        """
        rate_rps = sum(one.rate_rps for one in several)
        load = sum(one.rate_rps * one.service_s for one in several)
        return cls(rate_rps, load / rate_rps)


def spared_on_average(here: Traffic, cooling_s: float) -> float:
    """The same share over a long time, of Poisson arrivals that meet a component now and then idle.

    An arrival finds it busy with the probability of its load, else at rest for an exponential time
    with the rate L of all arrivals: E exp(-t / c) = L c / (1 + L c).
    """
    rate_rps, load = here.rate_rps, min(1.0, here.rate_rps * here.service_s)
    left = load + (1.0 - load) * rate_rps * cooling_s / (1.0 + rate_rps * cooling_s)
    return share_spared(left, cooling_s)


def after_on_average(alone: Alone, own_rps: float, here: Traffic, cooling_s: float) -> float:
    """How many times longer than with pauses its services take, each after any one that is here."""
    mine = own_rps / here.rate_rps
    at_once = mine * alone.after_itself + (1.0 - mine) * alone.after_another
    return 1.0 - spared_on_average(here, cooling_s) * (1.0 - at_once)
