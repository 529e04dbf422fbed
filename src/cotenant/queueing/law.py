"""A random time goes in by its transform; means, tail probabilities and quantiles come out.

Times in queues are seldom smooth: a deterministic service puts a jump in the distribution,
and an idle server puts a mass at waiting zero. A `Law` therefore is a finite mixture of
parts, each with its smallest value, the mass there, and a smooth rest known by its transform.
Jumps stay exact that way, and only the smooth rest is inverted numerically.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cotenant.core.errors import WorkloadError
from cotenant.queueing import inversion
from cotenant.queueing.inversion import Complex, Real, Transform

_SEPARATE_JUMPS = 8
"""Jumps kept apart; where there are more, each is small, and inversion across them is harmless."""
_PRECISION = 1e-9
"""Of a quantile, relative to itself."""
_FAR_BELOW = 1e-6
"""Of the tail that is allowed: what is still less counts as this much, since 0 has no logarithm."""
_STRAIGHT_STEPS = 40
"""After so many steps of regula falsi the rest is halving."""


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
        """Mean, exact."""
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

    def points(self, cells: int) -> tuple[Real, Real]:
        """Times and weights that stand for this law: each jump, and `cells` of each smooth rest.

        The mean is kept exactly; what lies beyond a tail of 1e-6 is added to the last cell.
        """
        times: list[Real] = []
        weights: list[Real] = []
        for part in self.parts:
            mass, over = np.ones(1), np.zeros(1)
            if part.atom < 1.0:
                mass, over = _cells(part, cells)
            times.append(part.floor_s + over)
            weights.append(part.weight * mass)
        return np.concatenate(times), np.concatenate(weights)

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
        return self._passes(allowed, low, high)

    def _passes(self, allowed: float, low: float, high: float) -> float:
        """Where between both the tail, which is over `allowed` at `low`, falls to it.

        Regula falsi with the Illinois step (Dowell and Jarratt 1971), and halving should that not
        get on, on the logarithm of the tail: of a queue that is nearly a straight line. SciPy has
        the like, but its import takes longer than to predict fifty tasks.
        """

        def over(time_s: float) -> float:
            return math.log(max(float(self.tail(time_s)[0]) / allowed, _FAR_BELOW))

        over_low, over_high = over(low), over(high)
        steps, rose = 0, None
        while high - low > _PRECISION * high:
            steps += 1
            time_s = (low + high) / 2.0
            if steps < _STRAIGHT_STEPS:
                time_s = high - over_high * (high - low) / (over_high - over_low)
            found = over(time_s)
            if abs(found) <= _PRECISION:
                return time_s
            # An end that stays twice counts for half, so that the next step comes closer to it.
            again = rose is (found > 0.0)
            rose = found > 0.0
            if rose:
                low, over_low, over_high = time_s, found, over_high / (1.0 + again)
            else:
                high, over_high, over_low = time_s, found, over_low / (1.0 + again)
        return high


def discrete(values_s: Real, weights: Real) -> Law:
    """Law of a time with finitely many values, ascending; the weights sum to 1.

    A few values keep their jumps; many are close together and count as smooth.

    >>> discrete(np.array([1.0, 4.0]), np.array([0.75, 0.25])).mean_s
    1.75
    """
    if values_s.size <= _SEPARATE_JUMPS:
        return Law(
            tuple(
                Part(float(weight), float(value), 1.0, 0.0, np.ones_like)
                for value, weight in zip(values_s, weights, strict=True)
            )
        )
    floor_s, over = float(values_s[0]), values_s - values_s[0]

    def excess(s: Complex) -> Complex:
        image: Complex = np.exp(-s[..., None] * over) @ weights
        return image

    return Law((Part(1.0, floor_s, float(weights[0]), float(over @ weights), excess),))


def total(laws: Sequence[Law]) -> Law:
    """Law of the sum of independent times: transforms multiply, means add.

    >>> unit = Part(1.0, 0.5, 1.0, 0.0, np.ones_like)
    >>> total([Law((unit,)), Law((unit,))]).quantile_s(0.3)
    1.0
    """
    joined = tuple(_joined(parts) for parts in product(*(law.parts for law in laws)))
    return Law(joined if len(joined) <= _SEPARATE_JUMPS else (_blended(joined),))


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


def _blended(parts: Sequence[Part]) -> Part:
    whole, floor_s = Law(tuple(parts)), min(part.floor_s for part in parts)
    return Part(
        weight=1.0,
        floor_s=floor_s,
        atom=sum(part.weight * part.atom for part in parts if part.floor_s == floor_s),
        excess_mean_s=whole.mean_s - floor_s,
        excess=lambda s: np.exp(floor_s * s) * whole.transform(s),
    )


def _cells(part: Part, cells: int) -> tuple[Real, Real]:
    rest = Law((part._replace(weight=1.0, floor_s=0.0),))
    reach = 2.0 * part.excess_mean_s
    while rest.tail(reach)[0] > 1e-6:
        reach *= 1.5
    edges = np.linspace(0.0, reach, cells + 1)
    mass = np.maximum(-np.diff(rest.tail(edges)), 0.0)
    middle = (edges[:-1] + edges[1:]) / 2.0
    mass *= (1.0 - part.atom) / mass.sum()
    middle *= part.excess_mean_s / float(mass @ middle)
    if part.atom == 0.0:
        return mass, middle
    return np.append(part.atom, mass), np.append(0.0, middle)
