"""A stream, and the service of each batch size, go in; its sojourn under batching comes out."""

from collections.abc import Sequence

import numpy as np
from scipy.special import gammainc
from scipy.stats import poisson

from cotenant.core.errors import WorkloadError
from cotenant.queueing.inversion import Real
from cotenant.queueing.service import Service
from cotenant.queueing.stream import Answer, Sojourn, Unstable

_LARGEST_QUEUE = 4096
"""Requests waiting at a departure beyond which the chain is cut."""
_CUT_OFF = 1e-10
"""Chance of a longer queue that is small enough to cut the chain there."""


def batched(
    name: str, rate_rps: float, services: Sequence[Service], max_delay_s: float = 0.0
) -> Answer:
    """M/G^[1,b]/1: a free server takes all that wait, at most b = len(services), as one batch.

    `services[m - 1]` is the service of a batch of m. A server that was idle waits up to
    `max_delay_s` after the first arrival, or until b have come; one that becomes free while
    requests wait starts at once, whatever their age.
    Queue lengths at departures form a chain, n -> max(n - b, 0) + arrivals in the service, with
    arrivals by Fourier transform of E[exp(-lambda (1 - z) S)]; the mean queue is that of a cycle
    between departures, and Little's law makes waiting of it. Means only; exact for Poisson
    arrivals. Source: Bailey (1954); Neuts, "A general class of bulk queues" (1967).

    >>> from cotenant.queueing.service import deterministic, exponential
    >>> round(batched("a", 0.5, [exponential(1.0)]).mean_s, 6)  # b = 1: M/M/1
    2.0
    >>> same = [deterministic(1.0)] * 64  # batches that cost nothing more: stable beyond rho = 1
    >>> batched("a", 4.0, same).utilization < 1
    True
    """
    if not services or not (0.0 < rate_rps < np.inf) or not (0.0 <= max_delay_s < np.inf):
        raise WorkloadError(
            f"{name!r}: batching needs the service of at least a batch of 1, a rate over 0/s and "
            f"a delay of at least 0 s; got {len(services)} services, {rate_rps}/s, {max_delay_s} s"
        )
    largest = len(services)
    load = rate_rps * services[-1].mean_s / largest
    if load >= 1.0:
        return Unstable(load, name)
    gathered = _gathered(rate_rps, max_delay_s, largest)  # [size - 1]
    left = _left_behind(rate_rps, services, gathered)  # [requests]
    taken = np.append(left[1:largest], left[largest:].sum()) + left[0] * gathered
    need_s = np.array([service.mean_s for service in services])
    need_s2 = np.array([service.second_moment_s2 for service in services])
    over = np.maximum(np.arange(left.size) - largest, 0)
    idle_s, gathering_s, gathering_area = _gathering(rate_rps, max_delay_s, largest)
    area = float(left @ over) * need_s[-1] + rate_rps * float(taken @ need_s2) / 2.0
    cycle_s = float(taken @ need_s + left[0] * (idle_s + gathering_s))
    waiting_s = float(area + left[0] * gathering_area) / (cycle_s * rate_rps)
    sizes = np.arange(1, largest + 1)
    inside_s = float(taken @ (sizes * need_s)) / float(taken @ sizes)
    busy = float(taken @ need_s) / cycle_s
    return Sojourn(waiting_s + inside_s, waiting_s, busy, None)


def _gathered(rate_rps: float, max_delay_s: float, largest: int) -> Real:
    """Chance of each batch size after idle time: 1 + Poisson(rate delay), at most b."""
    more: Real = poisson.pmf(np.arange(largest), rate_rps * max_delay_s)
    more[-1] += 1.0 - more.sum()
    return more


def _gathering(rate_rps: float, max_delay_s: float, largest: int) -> tuple[float, float, float]:
    """Mean idle time, mean time spent gathering, and the integral of the queue over it."""
    more = np.arange(largest - 1)
    spent_s = gammainc(more + 1.0, rate_rps * max_delay_s) / rate_rps  # with that many more
    return 1.0 / rate_rps, float(spent_s.sum()), float(spent_s @ (1.0 + more))


def _left_behind(rate_rps: float, services: Sequence[Service], gathered: Real) -> Real:
    """Stationary chance of each number of requests waiting as a batch departs."""
    largest, size = len(services), 8 * len(services) + 56
    while True:
        arrivals = _arrivals(rate_rps, services, size)  # [batch - 1, requests]
        chain = np.zeros((size, size))
        chain[0] = gathered @ arrivals
        for waiting in range(1, size):
            over = max(waiting - largest, 0)
            chain[waiting, over:] = arrivals[min(waiting, largest) - 1, : size - over]
        chain[:, -1] += 1.0 - chain.sum(axis=1)
        balance = chain.T - np.eye(size)
        balance[-1] = 1.0
        left: Real = np.linalg.solve(balance, np.eye(size)[-1])
        if left[-largest:].sum() < _CUT_OFF or size >= _LARGEST_QUEUE:
            return left
        size *= 2


def _arrivals(rate_rps: float, services: Sequence[Service], size: int) -> Real:
    """Chance of n Poisson arrivals during the service of each batch."""
    circle = np.exp(-2j * np.pi * np.arange(size) / size)
    images = np.stack([s.law.transform(rate_rps * (1.0 - circle)) for s in services])
    return np.maximum(np.fft.ifft(images, axis=1).real, 0.0)
