"""Any mix of periodic and Poisson streams, and an rng, go in; sampled sojourns come out.

Where no closed form holds (several periods, periodic beside Poisson), the recursion that
defines first come first served is run itself, vectorised, over random phases.
"""

from collections.abc import Sequence

import numpy as np

from cotenant.queueing.inversion import Real
from cotenant.queueing.service import from_samples
from cotenant.queueing.stream import Answer, Pattern, Sojourn, Stream, overload

_CELLS = 400
"""Service times that a smooth law is drawn from."""


def waiting_s(arrival_s: Real, service_s: Real) -> Real:
    """Waiting time of each request at one server, first come first served; arrivals ascend.

    W_{n+1} = max(0, W_n + S_n - A_n), unrolled to a running minimum of the walk
    sum (S_n - A_n): W_n = X_n - min_{k<=n} X_k. Exact. Source: Lindley (1952).

    >>> waiting_s(np.array([0.0, 1.0, 5.0]), np.array([3.0, 1.0, 1.0]))
    array([0., 2., 0.])
    """
    walk = np.append(0.0, np.cumsum(service_s[:-1] - np.diff(arrival_s)))
    waits: Real = walk - np.minimum.accumulate(walk)
    return waits


def fcfs(
    streams: Sequence[Stream],
    rng: np.random.Generator,
    requests: int = 4_000,
    phases: int = 32,
) -> tuple[Answer, ...]:
    """Sojourns of a mix, first come first served, averaged over random phases.

    Each of `phases` runs draws the phase of every periodic stream uniformly, lasts
    `requests` arrivals on average, and drops its first quarter, which starts empty.
    A sampled estimate: its error falls with 1 / sqrt(requests * phases), and grows near rho = 1.
    Runs are at least four requests of the slowest stream long.

    >>> from cotenant.queueing.service import deterministic
    >>> cameras = [Stream(n, 10.0, deterministic(0.04), Pattern.PERIODIC) for n in "ab"]
    >>> first, second = fcfs(cameras, np.random.default_rng(1))
    >>> 0.04 <= first.mean_s <= 0.08
    True
    """
    unstable = overload(streams)
    if unstable is not None:
        return (unstable,) * len(streams)
    rate_rps = sum(stream.rate_rps for stream in streams)
    load = sum(stream.load for stream in streams)
    slowest_rps = min(stream.rate_rps for stream in streams)
    horizon_s = max(requests / rate_rps, 6.0 / slowest_rps)
    tables = [stream.service.law.points(_CELLS) for stream in streams]
    runs = [_run(streams, tables, horizon_s, rng) for _ in range(phases)]
    answers = []
    for rank, stream in enumerate(streams):
        waited = np.concatenate([run[rank][0] for run in runs])
        stayed = np.concatenate([run[rank][1] for run in runs])
        mean_s = float(waited.mean()) + stream.service.mean_s
        law = from_samples(stayed).law
        answers.append(Sojourn(mean_s, float(waited.mean()), load, law))
    return tuple(answers)


def _run(
    streams: Sequence[Stream],
    tables: Sequence[tuple[Real, Real]],
    horizon_s: float,
    rng: np.random.Generator,
) -> list[tuple[Real, Real]]:
    arrivals = [_arrivals(stream, horizon_s, rng) for stream in streams]
    needs = [
        rng.choice(values, times.size, p=weights / weights.sum())
        for (values, weights), times in zip(tables, arrivals, strict=True)
    ]
    owner = np.repeat(np.arange(len(streams)), [times.size for times in arrivals])
    arrival_s, need_s = np.concatenate(arrivals), np.concatenate(needs)
    order = np.argsort(arrival_s, kind="stable")
    waits = waiting_s(arrival_s[order], need_s[order])
    counted = arrival_s[order] > horizon_s / 4.0
    kept = [counted & (owner[order] == rank) for rank in range(len(streams))]
    return [(waits[mask], waits[mask] + need_s[order][mask]) for mask in kept]


def _arrivals(stream: Stream, horizon_s: float, rng: np.random.Generator) -> Real:
    if stream.pattern is Pattern.PERIODIC:
        period_s = 1.0 / stream.rate_rps
        return np.arange(rng.uniform(0.0, period_s), horizon_s, period_s)
    return np.sort(rng.uniform(0.0, horizon_s, rng.poisson(stream.rate_rps * horizon_s)))
