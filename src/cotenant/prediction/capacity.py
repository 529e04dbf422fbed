"""A prediction for each rate multiplier goes in; the largest at which all fits comes out."""

from collections.abc import Callable
from typing import NamedTuple

from cotenant.prediction.figures import Prediction

_LARGEST = 1e4
_SMALLEST = 1e-4


class Capacity(NamedTuple):
    """Where the workload stops fitting."""

    factor: float
    """Largest multiplier that fits; 0 if none does."""
    binding: str | None
    """Task and constraint that break just beyond it; `None` if nothing breaks."""


def capacity(predicted: Callable[[float], Prediction], tolerance: float = 0.005) -> Capacity:
    """Bisect for the multiplier, to a relative `tolerance`; fitting must not return beyond it."""
    low, high = 0.0, 1.0
    while predicted(high).fits:
        low, high = high, high * 2.0
        if high > _LARGEST:
            return Capacity(low, None)
    while low == 0.0 and high > _SMALLEST:
        half = high / 2.0
        low, high = (half, high) if predicted(half).fits else (0.0, half)
    while low > 0.0 and high > low * (1.0 + tolerance):
        middle = (low + high) / 2.0
        low, high = (middle, high) if predicted(middle).fits else (low, middle)
    broken = max((one for one in predicted(high).tasks if not one.fits), key=lambda one: one.used)
    return Capacity(low, f"{broken.task}: {broken.binding}")
