"""A transform and times go in, tail probabilities come out: Abate and Whitt's Euler method."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Real = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Transform = Callable[[Complex], Complex]
"""Laplace-Stieltjes transform E[exp(-sX)] of a time X, for arrays of s with Re s > 0."""

_DAMPING = 18.4
"""Discretisation error is about exp(-damping), 1e-8; more of it costs digits to round-off."""
_PLAIN = 60
"""Terms summed as they are; more than the customary 15, since deterministic services make kinks."""
_AVERAGED = 11
"""Terms whose partial sums are averaged with binomial weights (Euler summation)."""


def _coefficients() -> Real:
    ways = [math.comb(_AVERAGED, kept) for kept in range(_AVERAGED + 1)]
    chance = np.array(ways) / 2.0**_AVERAGED
    kept = np.concatenate([np.ones(_PLAIN), np.cumsum(chance[::-1])[::-1]])
    signed: Real = kept * (-1.0) ** np.arange(kept.size)
    signed[0] = 0.5
    return signed


_COEFFICIENTS = _coefficients()
_NODES = _DAMPING / 2.0 + 1j * np.pi * np.arange(_COEFFICIENTS.size)


def tail(transform: Transform, time_s: Real) -> Real:
    r"""P(X > t) at each time t > 0 from the transform x(s) of X >= 0.

    Inverts (1 - x(s)) / s:
    P(X > t) = e^{A/2}/t * sum_k' (-1)^k Re F((A/2 + k pi i) / t), Euler-summed.
    Assumes that the tail is continuous at t; next to a jump it is blurred over about t/70.
    Source: Abate and Whitt, "Numerical inversion of Laplace transforms of probability
    distributions" (1995), equations 2 to 5.

    >>> exponential = lambda s: 1 / (1 + s)
    >>> [round(float(p), 7) for p in tail(exponential, np.array([1.0, 5.0]))]  # e^-1, e^-5
    [0.3678794, 0.0067379]
    """
    nodes: Complex = np.multiply.outer(1.0 / time_s, _NODES)
    images = (1.0 - transform(nodes)) / nodes
    sums: Real = np.exp(_DAMPING / 2.0) / time_s * (images.real @ _COEFFICIENTS)
    return np.clip(sums, 0.0, 1.0)
