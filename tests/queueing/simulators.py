"""Arrival and service times go in, sojourn times come out: the queues themselves, event by event.

They share nothing with the formulas under test; each is the discipline's definition.
"""

import heapq
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

Array = np.ndarray


class Interval(NamedTuple):
    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, float) and self.low <= value <= self.high


class Mix(NamedTuple):
    """Merged Poisson streams: one row per request, in order of arrival."""

    arrival_s: Array
    need_s: Array
    owner: Array


def interval(samples: Array, batches: int = 20, confidence: float = 0.999) -> Interval:
    """Confidence interval of the mean of correlated samples, by batch means."""
    steady = samples[len(samples) // 20 :]
    means = steady[: len(steady) // batches * batches].reshape(batches, -1).mean(axis=1)
    half = stats.t.ppf((1 + confidence) / 2, batches - 1) * means.std(ddof=1) / batches**0.5
    return Interval(means.mean() - half, means.mean() + half)


def poisson_mix(
    rng: np.random.Generator,
    rates_rps: list[float],
    needs: list[Callable[[int], Array]],
    requests: int,
) -> Mix:
    rate = sum(rates_rps)
    arrival_s = np.cumsum(rng.exponential(1 / rate, requests))
    owner = rng.choice(len(rates_rps), requests, p=np.array(rates_rps) / rate)
    need_s = np.empty(requests)
    for rank, draw in enumerate(needs):
        mine = owner == rank
        need_s[mine] = draw(int(mine.sum()))
    return Mix(arrival_s, need_s, owner)


def fcfs(mix: Mix, servers: int = 1) -> Array:
    """Sojourn times; each request takes the server that is free first."""
    free = [0.0] * servers
    ends = []
    for arrival, need in zip(mix.arrival_s.tolist(), mix.need_s.tolist(), strict=True):
        end = max(arrival, heapq.heappop(free)) + need
        heapq.heappush(free, end)
        ends.append(end)
    return np.array(ends) - mix.arrival_s


def priority(mix: Mix, preemptive: bool) -> Array:
    """Sojourn times; owner 0 is the highest class."""
    arrivals, owners = mix.arrival_s.tolist(), mix.owner.tolist()
    left = mix.need_s.tolist()
    ends = [0.0] * len(arrivals)
    queue: list[tuple[int, int]] = []
    running: tuple[int, int] | None = None
    now = 0.0
    for number, arrival in enumerate([*arrivals, np.inf]):
        while running is not None and now + left[running[1]] <= arrival:
            now += left[running[1]]
            ends[running[1]] = now
            running = heapq.heappop(queue) if queue else None
        if running is not None:
            left[running[1]] -= arrival - now
        now = arrival
        if number == len(arrivals):
            break
        heapq.heappush(queue, (owners[number], number))
        if running is None:
            running = heapq.heappop(queue)
        elif preemptive and queue[0][0] < running[0]:
            running = heapq.heapreplace(queue, running)
    return np.array(ends) - mix.arrival_s


def sharing(mix: Mix, weights: list[float]) -> Array:
    """Sojourn times when all present share the server in proportion to their owners' weights."""
    arrivals, needs, owners = mix.arrival_s.tolist(), mix.need_s.tolist(), mix.owner.tolist()
    ends = [0.0] * len(arrivals)
    present: list[tuple[float, int]] = []  # (service per weight at which it ends, request)
    now = served = weight = 0.0
    for number, arrival in enumerate([*arrivals, np.inf]):
        while present and now + (present[0][0] - served) * weight <= arrival:
            goal, done = heapq.heappop(present)
            now += (goal - served) * weight
            served = goal
            ends[done] = now
            weight -= weights[owners[done]]
        if not present:
            weight = 0.0
        if number == len(arrivals):
            break
        if weight:
            served += (arrival - now) / weight
        now = arrival
        heapq.heappush(present, (served + needs[number] / weights[owners[number]], number))
        weight += weights[owners[number]]
    return np.array(ends) - mix.arrival_s


def batching(
    arrival_s: Array, need_s: Callable[[int], float], largest: int, max_delay_s: float
) -> Array:
    """Sojourn times when a free server takes what waits; only an idle one lets a batch fill."""
    arrivals = arrival_s.tolist()
    ends: list[float] = []
    now, head = 0.0, 0
    while head < len(arrivals):
        start = now
        if arrivals[head] > now:  # idle: wait for the delay or for a full batch
            start = arrivals[head] + max_delay_s
            if head + largest <= len(arrivals):
                start = min(start, arrivals[head + largest - 1])
        size = 0
        while size < largest and head + size < len(arrivals) and arrivals[head + size] <= start:
            size += 1
        now = start + need_s(size)
        ends += [now] * size
        head += size
    return np.array(ends) - arrival_s
