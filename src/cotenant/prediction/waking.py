"""What ran last on a component, and how long ago, go in; how fast the next service is comes out.

A machine that rests gets slow: within some ten ms its cores fall asleep and its caches are lost to
others, and within a second the host under a virtual machine takes its memory's mappings away. With
S the mean service time of a model that is asked now and then, with pauses of g, a service that
starts after a rest of t takes

    S (1 - a(t) (1 - w) + b(t) (r - 1)),

    a(t) = (exp(-min(t, g) / c) - exp(-g / c)) / (1 - exp(-g / c)),
    b(t) = (1 - exp(-(t - g) / d)) / (1 - exp(-(G - g) / d)) after g, 0 before it,

so that a = 1 without a rest, a = b = 0 after a pause of g, and b = 1 after a long one of G. wS is
the mean time without a rest: after the model itself (cores awake, caches its own) or after another
one (cores awake, caches the other's, so that w may be over 1). rS is that after a pause of G,
whoever ran before it. All of them, and c, are measured with the profile (`profiling/cooling.py`).
[D] d is 0.5 s: on a virtual machine whose host did so, services after 0.1, 0.2 and 0.4 s went on
growing, ever less. What a request spends at the server's front follows the same law whoever came
last: the front does the same for all.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cotenant.profiling.cooling import share_spared
from cotenant.profiling.profile import LONG_PAUSE_S, PAUSE_S, Alone

_LOSING_S = 0.5
"""d."""
_LOST_AT_LONG = -math.expm1(-(LONG_PAUSE_S - PAUSE_S) / _LOSING_S)
"""What is lost after a long pause, of all that there is to lose."""


def spared(rest_s: float, cooling_s: float) -> float:
    """The share a of what a service without a rest is spared.

    >>> spared(0.0, 0.012), spared(0.05, 0.012)
    (1.0, 0.0)
    """
    return share_spared(math.exp(-min(rest_s, PAUSE_S) / cooling_s), cooling_s)


def lost(rest_s: float) -> float:
    """b: what a rest costs, over what one of `LONG_PAUSE_S` does.

    >>> [round(lost(rest_s), 2) for rest_s in (0.05, 0.1, 0.2, 0.4, 9.0)]
    [0.0, 0.37, 1.0, 1.94, 3.86]
    """
    return (1.0 - math.exp(min(0.0, PAUSE_S - rest_s) / _LOSING_S)) / _LOST_AT_LONG


def after(at_once: float, rested: float, rest_s: float, cooling_s: float) -> float:
    """How many times longer a service takes than with its usual pauses.

    `at_once` without a rest, `rested` after one of `LONG_PAUSE_S`.

    >>> [after(0.8, 1.1, rest_s, 0.012) for rest_s in (0.0, 0.05, 0.2)]
    [0.8, 1.0, 1.1]
    """
    if rest_s <= 0.0:  # most often, on a busy machine
        return at_once
    if rest_s < PAUSE_S:
        return 1.0 - spared(rest_s, cooling_s) * (1.0 - at_once)
    return 1.0 + lost(rest_s) * (rested - 1.0)


class Traffic(NamedTuple):
    """Open arrivals: requests per second, and mean seconds of each."""

    rate_rps: float
    service_s: float

    @property
    def load(self) -> float:
        """Probability that an arrival finds somebody in service."""
        return min(1.0, self.rate_rps * self.service_s)

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
    with the rate L of all arrivals: with q = exp(-g (L + 1 / c)),
    E exp(-min(t, g) / c) = (1 - q) L c / (1 + L c) + q.
    """
    warmed = here.rate_rps * cooling_s
    beyond = math.exp(-PAUSE_S * (here.rate_rps + 1.0 / cooling_s))
    left = (1.0 - beyond) * warmed / (1.0 + warmed) + beyond
    return share_spared(here.load + (1.0 - here.load) * left, cooling_s)


def lost_on_average(here: Traffic) -> float:
    """b likewise: at rest E b is exp(-L g) / (1 + L d), over 1 - exp(-(G - g) / d)."""
    beyond = (1.0 - here.load) * math.exp(-here.rate_rps * PAUSE_S)
    return beyond / (1.0 + here.rate_rps * _LOSING_S) / _LOST_AT_LONG


def after_on_average(alone: Alone, own_rps: float, here: Traffic, cooling_s: float) -> float:
    """How many times longer than with pauses its services take, each after any one that is here."""
    mine = own_rps / here.rate_rps
    at_once = mine * alone.after_itself + (1.0 - mine) * alone.after_another
    warmer = spared_on_average(here, cooling_s) * (1.0 - at_once)
    return 1.0 - warmer + lost_on_average(here) * (alone.after_a_long_rest - 1.0)
