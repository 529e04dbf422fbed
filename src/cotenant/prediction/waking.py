"""How long ago a task ran, and how long ago any did, go in; how fast its next service is comes out.

What a model leaves in the caches is lost bit by bit, whether others run meanwhile or nobody. A
machine that rests gets slow: within some ten ms its cores fall asleep, and within a second the host
under a virtual machine takes its memory's mappings away. With S the mean service time of a model
that is asked now and then, with pauses of g, a service that starts u after the end of the model's
own last one, and t after that of anybody's, takes

    S (B - k(u) (B - w) + b(t) (r - 1)),    B = 1 - a(t) (1 - o) after others' work, else 1,

    k(u) = (exp(-min(u, g) / c) - exp(-g / c)) / (1 - exp(-g / c)),    a(t) likewise, with e for c,
    b(t) = (1 - exp(-(t - g) / d)) / (1 - exp(-(G - g) / d)) after g, 0 before it,

so that it takes wS right after itself (cores awake, caches its own), oS right after others that
took long (cores awake, caches theirs, so that o may be over 1), S after a pause of g, and rS after
a long one of G. All of them, and c, are measured with the profile (`profiling/cooling.py`).
[D] e is 12 ms, and d is 0.5 s: on a virtual machine whose host did so, services after 0.1, 0.2 and
0.4 s went on growing, ever less. There services of small models took 0.84, 0.85, 0.89, 0.93 and
0.93 of S when they interrupted others 7, 14, 28, 60 and 110 ms after their last. What a request
spends at the server's front follows a(t) and b(t) alone: the front does the same for all.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cotenant.profiling.cooling import share_spared
from cotenant.profiling.profile import LONG_PAUSE_S, PAUSE_S, Alone

_ASLEEP_S = 0.012
"""e."""
_LOSING_S = 0.5
"""d."""
_LOST_AT_LONG = -math.expm1(-(LONG_PAUSE_S - PAUSE_S) / _LOSING_S)
"""What is lost after a long pause, of all that there is to lose."""


def kept(own_rest_s: float, cooling_s: float) -> float:
    """k: the share of its own that a model still finds.

    >>> kept(0.0, 0.012), kept(0.05, 0.012)
    (1.0, 0.0)
    """
    return share_spared(math.exp(-min(own_rest_s, PAUSE_S) / cooling_s), cooling_s)


def awake(rest_s: float) -> float:
    """a: the share of a service without a rest that the cores are still as awake as."""
    return kept(rest_s, _ASLEEP_S)


def lost(rest_s: float) -> float:
    """b: what a rest costs, over what one of `LONG_PAUSE_S` does.

    >>> [round(lost(rest_s), 2) for rest_s in (0.05, 0.1, 0.2, 0.4, 9.0)]
    [0.0, 0.37, 1.0, 1.94, 3.86]
    """
    return (1.0 - math.exp(min(0.0, PAUSE_S - rest_s) / _LOSING_S)) / _LOST_AT_LONG


class Paces(NamedTuple):
    """What a service takes, over what it takes after its usual pause."""

    after_itself: float
    after_another: float
    rested: float
    """After a pause of `LONG_PAUSE_S`."""

    @classmethod
    def of(cls, alone: Alone) -> "Paces":
        """As they were measured."""
        return cls(alone.after_itself, alone.after_another, alone.after_a_long_rest)


def after(paces: Paces, own_rest_s: float, rest_s: float, cooling_s: float) -> float:
    """How many times longer a service takes than with its usual pauses.

    Args:
        own_rest_s: since the task's own last service, infinite if there was none.
        rest_s: since anybody's.

    >>> paces = Paces(after_itself=0.8, after_another=1.0, rested=1.1)
    >>> [after(paces, rest_s, rest_s, 0.012) for rest_s in (0.0, 0.05, 0.2)]
    [0.8, 1.0, 1.1]
    >>> after(paces, math.inf, 0.0, 0.012)
    1.0
    """
    alone = own_rest_s <= rest_s
    usual = 1.0 if alone else 1.0 - awake(rest_s) * (1.0 - paces.after_another)
    left = kept(own_rest_s, cooling_s)
    return usual - left * (usual - paces.after_itself) + lost(rest_s) * (paces.rested - 1.0)


def displaced(paces: Paces, held_s: float, cooling_s: float) -> float:
    """(1 - k(u)) (o - w): what a service loses, over its usual time, when others interrupt it.

    They fill the caches for u = `held_s`. On a virtual machine of one core, requests of 8, 30, 40
    and 60 ms cost services that they interrupted 1.4, 3.1, 3.5 and 6 ms with what the front does.

    >>> round(displaced(Paces(0.8, 1.0, 1.0), 0.012, 0.012), 2)
    0.13
    """
    return (1.0 - kept(held_s, cooling_s)) * (paces.after_another - paces.after_itself)


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


def kept_on_average(own: Traffic, cooling_s: float) -> float:
    """k over a long time, of Poisson arrivals.

    One finds another in service with the probability of the load, else none for an exponential time
    with their rate L: with q = exp(-g (L + 1 / c)),
    E exp(-min(u, g) / c) = (1 - q) L c / (1 + L c) + q.
    """
    warmed = own.rate_rps * cooling_s
    beyond = math.exp(-PAUSE_S * (own.rate_rps + 1.0 / cooling_s))
    left = (1.0 - beyond) * warmed / (1.0 + warmed) + beyond
    return share_spared(own.load + (1.0 - own.load) * left, cooling_s)


def awake_on_average(here: Traffic) -> float:
    """a likewise, of the arrivals of all."""
    return kept_on_average(here, _ASLEEP_S)


def lost_on_average(here: Traffic) -> float:
    """b likewise: at rest E b is exp(-L g) / (1 + L d), over 1 - exp(-(G - g) / d)."""
    beyond = (1.0 - here.load) * math.exp(-here.rate_rps * PAUSE_S)
    return beyond / (1.0 + here.rate_rps * _LOSING_S) / _LOST_AT_LONG


def after_on_average(
    paces: Paces, own: Traffic, here: Traffic, cooling_s: float, *, periodic: bool = False
) -> float:
    """How many times longer than with pauses its services take, as if u and t were independent.

    Args:
        own: its arrivals, which are among those that are `here`.
        periodic: they come at equal distances.
    """
    others = 1.0 - own.rate_rps / here.rate_rps
    usual = 1.0 - others * awake_on_average(here) * (1.0 - paces.after_another)
    left = (
        kept(max(0.0, 1.0 / own.rate_rps - own.service_s), cooling_s)
        if periodic
        else kept_on_average(own, cooling_s)
    )
    longer = lost_on_average(here) * (paces.rested - 1.0)
    return usual - left * (usual - paces.after_itself) + longer
