"""A random time goes in by its transform; means, tail probabilities and quantiles come out.

Times in queues are seldom smooth: a deterministic service puts a jump in the distribution,
and an idle server puts a mass at waiting zero. A `Law` therefore is a finite mixture of
parts, each with its smallest value, the mass there, and a smooth rest known by its transform.
Jumps stay exact that way, and only the smooth rest is inverted numerically.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from cotenant.core.errors import WorkloadError
from cotenant.queueing import inversion
from cotenant.queueing.inversion import Complex, Real, Transform


class Part(NamedTuple):
    """With chance `weight` the time is `floor_s` plus an excess."""

    weight: float
    floor_s: float
    atom: float
    """Chance that the excess is exactly zero."""
    excess_mean_s: float
    excess: Transform
    """Transform of the excess, its atom included."""


@dataclass(frozen=True)
class Law:
    """Distribution of a non-negative time."""

    parts: tuple[Part, ...]

    @property
    def mean_s(self) -> float:
        return sum(part.weight * (part.floor_s + part.excess_mean_s) for part in self.parts)

    def transform(self, s: Complex) -> Complex:
        """E[exp(-sX)] at each s."""
        total: Complex = np.zeros_like(s)
        for part in self.parts:
            total = total + part.weight * np.exp(-part.floor_s * s) * part.excess(s)
        return total

    def tail(self, time_s: npt.ArrayLike) -> Real:
        """P(X > t) at each time."""
        times = np.atleast_1d(np.asarray(time_s, dtype=np.float64))
        total = np.zeros_like(times)
        for part in self.parts:
            over = times - part.floor_s
            chance = np.where(over < 0.0, 1.0, 1.0 - part.atom)
            inside = over > 0.0
            if part.atom < 1.0 and inside.any():
                chance[inside] = np.minimum(
                    inversion.tail(part.excess, over[inside]), 1.0 - part.atom
                )
            elif part.atom >= 1.0:
                chance[inside] = 0.0
            total += part.weight * chance
        return np.clip(total, 0.0, 1.0)

    def quantile_s(self, quantile: float) -> float:
        """Smallest t with P(X <= t) >= quantile.

        >>> mean_two = Law((Part(1.0, 0.0, 0.0, 2.0, lambda s: 1 / (1 + 2 * s)),))
        >>> round(mean_two.quantile_s(0.99), 6)  # 2 ln 100
        9.21034
        """
        if not 0.0 < quantile < 1.0:
            raise WorkloadError(
                f"quantile {quantile} has no finite value; give one between 0 and 1, such as 0.99"
            )
        allowed = 1.0 - quantile
        floors = np.unique([part.floor_s for part in self.parts])
        after = int(np.argmax(np.append(self.tail(floors), 0.0) <= allowed))
        if after == 0:
            return float(floors[0])
        low = float(floors[after - 1])
        if after < floors.size:
            high = float(np.nextafter(floors[after], low))
            if self.tail(high)[0] > allowed:
                return float(floors[after])  # the quantile falls into the jump
        else:
            reach = max(self.mean_s - low, 1e-3 * self.mean_s)
            while self.tail(low + reach)[0] > allowed:
                reach *= 2.0
            high = low + reach
        return float(
            brentq(lambda t: float(self.tail(t)[0]) - allowed, low, high, xtol=1e-9 * high)
        )


def total(laws: Sequence[Law]) -> Law:
    """Law of the sum of independent times: transforms multiply, means add.

    >>> unit = Part(1.0, 0.5, 1.0, 0.0, np.ones_like)
    >>> total([Law((unit,)), Law((unit,))]).quantile_s(0.3)
    1.0
    """
    return Law(tuple(_joined(parts) for parts in product(*(law.parts for law in laws))))


def mixed(weighted: Sequence[tuple[float, Law]]) -> Law:
    """Law of a time that follows each law with the given chance; the chances sum to 1."""
    return Law(
        tuple(
            part._replace(weight=weight * part.weight)
            for weight, law in weighted
            for part in law.parts
            if weight > 0.0
        )
    )


def _joined(parts: Sequence[Part]) -> Part:
    def excess(s: Complex) -> Complex:
        value: Complex = np.ones_like(s)
        for part in parts:
            value = value * part.excess(s)
        return value

    return Part(
        weight=float(np.prod([part.weight for part in parts])),
        floor_s=sum(part.floor_s for part in parts),
        atom=float(np.prod([part.atom for part in parts])),
        excess_mean_s=sum(part.excess_mean_s for part in parts),
        excess=excess,
    )
