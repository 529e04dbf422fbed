"""Samples of one policy go in; a figure over its tasks comes out, with bootstrap draws of it.

Two such figures can be divided, and the ratio has an interval of its own. What both are made of
(the phases alone) is drawn with the same numbers, so it cancels as it does in the value.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from cotenant.bench.figures import Key, Sample, Samples
from cotenant.bench.records import ALONE
from cotenant.bench.statistics import (
    RESAMPLES,
    Interval,
    percentile_interval,
    resampled_means,
    resampled_quantiles,
)


class Spread(NamedTuple):
    """A figure and what it is in each resample."""

    value: float
    drawn: Samples
    """Shape [resamples]."""

    def over(self, other: "Spread") -> Interval | None:
        """The ratio; `None` where the other is nought."""
        if other.value == 0.0:
            return None
        drawn = self.drawn / np.maximum(other.drawn, 1e-12)
        return percentile_interval(self.value / other.value, drawn)


class Measured(NamedTuple):
    """All that was measured of one scenario."""

    scenario: str
    samples: Mapping[Key, Sample]
    seed: int

    def total_rps(self, policy: str, tasks: Iterable[str]) -> Spread | None:
        """Inferences per second of all tasks together; `None` where one was not measured."""
        rng = self._rng(policy, "total")
        value, drawn = 0.0, np.zeros(RESAMPLES)
        for task in tasks:
            sample = self.samples.get((self.scenario, policy, task))
            if sample is None:
                return None
            value += sample.throughput_rps
            drawn += resampled_means(sample.sliced_rates_rps(), rng, RESAMPLES)
        return Spread(value, drawn)

    def worst_slowdown(self, policy: str, tasks: Iterable[str], quantile: float) -> Spread | None:
        """Of the task that fares worst against alone; `None` where one was not measured."""
        found = [self._slowdown(policy, task, quantile) for task in tasks]
        known = [one for one in found if one is not None]
        if not known or len(known) < len(found):
            return None
        return Spread(max(one.value for one in known), np.max([one.drawn for one in known], axis=0))

    def _slowdown(self, policy: str, task: str, quantile: float) -> Spread | None:
        own = self._quantile_s(policy, task, quantile)
        alone = self._quantile_s(ALONE, task, quantile)
        if own is None or alone is None:
            return None
        return Spread(own.value / alone.value, own.drawn / alone.drawn)

    def _quantile_s(self, policy: str, task: str, quantile: float) -> Spread | None:
        sample = self.samples.get((self.scenario, policy, task))
        latencies_s = sample.latencies_s() if sample is not None else []
        if not latencies_s:
            return None
        value_s = float(np.quantile(np.concatenate(latencies_s), quantile))
        rng = self._rng(policy, task, str(quantile))
        return Spread(value_s, resampled_quantiles(latencies_s, quantile, rng, RESAMPLES))

    def _rng(self, *names: str) -> np.random.Generator:
        place = [zlib.crc32(name.encode()) for name in (self.scenario, *names)]
        return np.random.default_rng([self.seed, *place])
