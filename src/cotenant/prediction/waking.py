"""How long ago a task ran, and how long ago any did, go in; how fast its next service is comes out.

What a model leaves in the caches is lost bit by bit, whether others run meanwhile or nobody. A
machine that rests gets slow: within some ten ms its cores fall asleep, and within a second the host
under a virtual machine takes its memory's mappings away. With S the mean service time of a model
that is asked now and then, with pauses of g, a service that starts u after the end of the model's
own last one, and t after that of anybody's, takes

    S (C - exp(-u / c) (C - w) + b(t) (r - z)),    C = z - exp(-t / e) (z - o),
    b(t) = (1 - exp(-(t - g) / d)) / (1 - exp(-(G - g) / d)) after g, 0 before it,

where C is what it takes with nothing of its own in the caches: o if the cores are awake, z if they
sleep. wS is the time right after itself, oS that right after others that took long, and rS that
after a long pause of G. All of them, and c, are measured with the profile
(`profiling/cooling.py`); z follows from S = z S - exp(-g / c) (z S - w S).

[D] e is 12 ms, and d is 0.5 s: on a virtual machine whose host did so, services after 0.1, 0.2 and
0.4 s went on growing, ever less. There services of a small model took 0.92, 0.93, 0.97, 0.99 and
1.00 of S when they interrupted others 7, 14, 28, 60 and 110 ms after their last one, and 1.07 when
the machine had then rested for 60 ms. What a request spends at the server's front follows the
machine's rest alone: the front does the same for all.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cotenant.profiling.profile import LONG_PAUSE_S, PAUSE_S, Alone

_ASLEEP_S = 0.012
"""e."""
_LOSING_S = 0.5
"""d."""
_LEFT_MOST = 0.5
"""Of its own that a model may be taken to find after the usual pause: what it takes with nothing
cannot be told from much more."""
_LOST_AT_LONG = -math.expm1(-(LONG_PAUSE_S - PAUSE_S) / _LOSING_S)
"""What is lost after a long pause, of all that there is to lose."""


def kept(own_rest_s: float, cooling_s: float) -> float:
    """The share of its own that a model still finds: exp(-u / c)."""
    return math.exp(-own_rest_s / cooling_s)


def awake(rest_s: float) -> float:
    """The share of cores that have not fallen asleep: exp(-t / e)."""
    return math.exp(-rest_s / _ASLEEP_S)


def lost(rest_s: float) -> float:
    """b: what a rest costs, over what one of `LONG_PAUSE_S` does.

    >>> [round(lost(rest_s), 2) for rest_s in (0.05, 0.1, 0.2, 0.4, 9.0)]
    [0.0, 0.37, 1.0, 1.94, 3.86]
    """
    return (1.0 - math.exp(min(0.0, PAUSE_S - rest_s) / _LOSING_S)) / _LOST_AT_LONG


class Paces(NamedTuple):
    """What a service takes, over what it takes after its usual pause."""

    after_itself: float
    """w."""
    after_another: float
    """o."""
    rested: float
    """r, after a pause of `LONG_PAUSE_S`."""

    @classmethod
    def of(cls, alone: Alone) -> "Paces":
        """As they were measured."""
        return cls(alone.after_itself, alone.after_another, alone.after_a_long_rest)

    def asleep(self, cooling_s: float) -> float:
        """z: with nothing of its own in the caches, on cores that sleep."""
        left = min(_LEFT_MOST, kept(PAUSE_S, cooling_s))
        return (1.0 - left * self.after_itself) / (1.0 - left)

    def cold(self, share_awake: float, cooling_s: float) -> float:
        """C: the same on cores that are awake with some probability."""
        asleep = self.asleep(cooling_s)
        return asleep - share_awake * (asleep - self.after_another)

    def beyond(self, share_lost: float, cooling_s: float) -> float:
        """What a long rest adds."""
        return share_lost * max(0.0, self.rested - self.asleep(cooling_s))


def after(paces: Paces, own_rest_s: float, rest_s: float, cooling_s: float) -> float:
    """How many times longer a service takes than with its usual pauses.

    Args:
        own_rest_s: since the task's own last service, infinite if there was none.
        rest_s: since anybody's.

    >>> paces = Paces(after_itself=0.8, after_another=1.0, rested=1.1)
    >>> [round(after(paces, rest_s, rest_s, 0.012), 2) for rest_s in (0.0, 0.05, 0.2)]
    [0.8, 1.0, 1.1]
    >>> after(paces, math.inf, 0.0, 0.012)
    1.0
    """
    cold = paces.cold(awake(rest_s), cooling_s)
    warmer = kept(own_rest_s, cooling_s) * (cold - paces.after_itself)
    return cold - warmer + paces.beyond(lost(rest_s), cooling_s)


def displaced(paces: Paces, held_s: float, cooling_s: float) -> float:
    """What a service loses, over its usual time, when others interrupt it for so long.

    They fill the caches meanwhile: (1 - exp(-u / c)) (o - w). On a virtual machine of one core,
    requests of 8, 30, 40 and 60 ms cost services that they interrupted 1.4, 3.1, 3.5 and 6 ms with
    what the front does.

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
    """exp(-u / c) over a long time, of Poisson arrivals.

    One finds another in service with the probability of the load, else none for an exponential time
    with their rate L: E exp(-u / c) = L c / (1 + L c).
    """
    warmed = own.rate_rps * cooling_s
    return own.load + (1.0 - own.load) * warmed / (1.0 + warmed)


def awake_on_average(here: Traffic) -> float:
    """exp(-t / e) likewise, of the arrivals of all."""
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
    left = (
        kept(max(0.0, 1.0 / own.rate_rps - own.service_s), cooling_s)
        if periodic
        else kept_on_average(own, cooling_s)
    )
    cold = paces.cold(awake_on_average(here), cooling_s)
    longer = paces.beyond(lost_on_average(here), cooling_s)
    return cold - left * (cold - paces.after_itself) + longer
