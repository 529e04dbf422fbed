"""Streams whose models displace each other on one accelerator go in; their sojourns come out.

The accelerator's memory holds one model: a request pays the swap when the request served
before it, idle time or not, was for another model. Three answers to the same question: the
published one, the published one with the exact second moment, and the exact one. They
differ, because a swap makes the service times of neighbours depend on each other.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from cotenant.core.errors import WorkloadError
from cotenant.queueing import mg1
from cotenant.queueing.inversion import Complex, Real
from cotenant.queueing.law import Law, Part, total
from cotenant.queueing.service import Service, deterministic, mixture
from cotenant.queueing.stream import Answer, Sojourn, Stream, Unstable, overload


class Swapped(NamedTuple):
    """A stream, and what it costs to bring its model in; 0 s if all models fit together."""

    stream: Stream
    swap_s: float


_ROUNDS = 5000
"""Of the recursion for G at most; it shrinks the error by about rho in each."""

EDGE_TPU = MappingProxyType(
    {
        "efficientnet-s": (9.83e-3, 17.33e-3),
        "efficientnet-m": (15.85e-3, 22.63e-3),
        "efficientnet-l": (42.18e-3, 17.53e-3),
        "mobilenet-v1": (4.55e-3, 15.12e-3),
        "mobilenet-v2": (4.91e-3, 10.43e-3),
        "inception-v3": (62.95e-3, 19.39e-3),
        "inception-v4": (125.13e-3, 19.43e-3),
        "ssd-v1": (18.03e-3, 23.93e-3),
        "ssd-v2": (19.23e-3, 24.63e-3),
    }
)
"""Service and swap time in seconds on an EdgeTPU, by model (Liang et al. 2022, "Ibis")."""


def published(swapped: Sequence[Swapped]) -> tuple[Answer, ...]:
    """M/G/1 in which each request of stream i takes s_i + p_i o_i, p_i = 1 - lambda_i / lambda.

    The published model as its code has it: it counts the mean swap, not its spread.
    Means only. An approximation, kept as a baseline. Source: Liang et al. (2022).

    >>> fcfs = published([Swapped(Stream("a", 0.5, deterministic(1.0)), 9.0)])  # never displaced
    >>> fcfs[0].mean_s
    1.5
    """

    def averaged(service: Service, swap_s: float, chance: float) -> Service:
        cost_s = chance * swap_s
        return Service(
            service.mean_s + cost_s,
            service.second_moment_s2 + 2.0 * service.mean_s * cost_s + cost_s**2,
            total([service.law, deterministic(cost_s).law]) if cost_s else service.law,
        )

    return _as_fcfs(swapped, [averaged(*terms) for terms in _terms(swapped)])


def independent(swapped: Sequence[Swapped]) -> tuple[Answer, ...]:
    """M/G/1 in which each request of stream i swaps with chance p_i = 1 - lambda_i / lambda.

    E[S^2] = sum (lambda_i / lambda) [p_i E[(s_i + o_i)^2] + (1 - p_i) E[s_i^2]].
    The second moment is exact; that successive swaps are independent is an approximation.

    >>> pair = [Swapped(Stream(n, 0.2, deterministic(1.0)), 1.0) for n in "ab"]
    >>> round(independent(pair)[0].waiting_s, 6)  # 0.4 * 2.5 / (2 * 0.4), and half a swap
    1.75
    """
    return _as_fcfs(swapped, [_swapping(*terms) for terms in _terms(swapped)])


def exact(swapped: Sequence[Swapped]) -> tuple[Answer, ...]:
    """First come first served with swaps, dependence of neighbours included: M/SM/1.

    The stream served last is the phase of a chain of type M/G/1. G, the phase when the queue
    first shrinks, solves G = sum_n A_n G^n; its stationary vector, scaled to 1 - rho, is g, the
    chance to find the server idle after each stream. With pi_j = lambda_j / lambda,
    B_ij(s) = pi_j b_j(s) e^{-s o_j [i != j]} and the row w_j(s) = E[e^{-sW}; last was j]:
    w(s) = s g (s I - lambda I + lambda B(s))^-1, and
    E[W] = (lambda E[S^2] / 2 + r c) / (1 - rho), r = g - pi + lambda pi B_1, c = B_1 1,
    with B_1 the matrix of means: Pollaczek-Khinchine and a term for the dependence. Exact.
    Source: Neuts (1966, 1989 chapter 1), "The single server queue with Poisson input and
    semi-Markov service times".

    >>> pair = [Swapped(Stream(n, 0.2, deterministic(1.0)), 0.0) for n in "ab"]
    >>> round(exact(pair)[0].waiting_s, 6)  # no cost to swap: M/D/1
    0.333333
    """
    streams, terms = [one.stream for one in swapped], _terms(swapped)
    unstable = _overload(streams, [_swapping(*each) for each in terms])
    if unstable is not None:
        return (unstable,) * len(streams)
    rate_rps = sum(stream.rate_rps for stream in streams)
    chain = _Chain(
        rate_rps,
        np.array([stream.rate_rps / rate_rps for stream in streams]),
        tuple(stream.service for stream in streams),
        np.array([one.swap_s for one in swapped]),
    )
    idle = _idle(chain)
    other = 1.0 - np.eye(len(streams))
    means = chain.share * (chain.need_s + other * chain.swap_s)  # B_1: [last, next]
    bend = idle - chain.share + rate_rps * chain.share @ means
    load = 1.0 - float(idle.sum())
    second_s2 = mixture(
        [(one.rate_rps, _swapping(*each)) for one, each in zip(streams, terms, strict=True)]
    ).second_moment_s2
    waiting_s = (rate_rps * second_s2 / 2.0 + float(bend @ means.sum(axis=1))) / (1.0 - load)
    after_s = waiting_s + bend / (rate_rps * chain.share)  # E[W | last was j]

    def answer(own: int) -> Sojourn:
        share, swap_s = float(chain.share[own]), float(chain.swap_s[own])
        parts = [
            Part(
                share,
                0.0,
                float(idle[own]) / share,
                float(after_s[own]),
                lambda s: _waiting(chain, idle, s)[..., own] / share,
            )
        ]
        if share < 1.0:

            def displaced(s: Complex) -> Complex:
                rows = _waiting(chain, idle, s)
                image: Complex = (rows.sum(axis=-1) - rows[..., own]) / (1.0 - share)
                return image

            found = (1.0 - load - float(idle[own])) / (1.0 - share)
            late_s = (waiting_s - share * float(after_s[own])) / (1.0 - share)
            parts.append(Part(1.0 - share, swap_s, found, late_s, displaced))
        service = chain.services[own]
        law = total([Law(tuple(parts)), service.law])
        return Sojourn(law.mean_s, law.mean_s - service.mean_s, load, law)

    return tuple(answer(own) for own in range(len(streams)))


class _Chain(NamedTuple):
    rate_rps: float
    share: Real  # [stream]
    services: tuple[Service, ...]
    swap_s: Real  # [stream]

    @property
    def need_s(self) -> Real:
        return np.array([service.mean_s for service in self.services])


def _transforms(chain: _Chain, s: Complex) -> tuple[Complex, Complex]:
    """b_j(s), and b_j(s) with the swap: [..., stream]."""
    own = np.stack([service.law.transform(s) for service in chain.services], axis=-1)
    return own, own * np.exp(-s[..., None] * chain.swap_s)


def _idle(chain: _Chain) -> Real:
    """g_j: chance that an arrival finds the server idle after stream j."""
    count = chain.share.size
    first: Real = np.tile(chain.share, (count, 1))
    for _ in range(_ROUNDS):
        # Each row of B is a function of the matrix lambda (I - G): apply it to eigenvalues.
        values, vectors = np.linalg.eig(chain.rate_rps * (np.eye(count) - first))
        own, displaced = _transforms(chain, values.astype(np.complex128))  # [value, stream]
        inverse = np.linalg.inv(vectors)
        swapping = chain.share[:, None] * vectors * displaced.T
        gain = chain.share[:, None] * vectors * (own - displaced).T
        following = ((swapping.sum(axis=0) + gain) @ inverse).real
        settled = bool(np.max(np.abs(following - first)) < 1e-12)
        first = following
        if settled:
            break
    balance = np.vstack([np.eye(count) - first.T, np.ones(count)])
    stationary = np.linalg.lstsq(balance, np.append(np.zeros(count), 1.0), rcond=None)[0]
    busy = chain.share @ (chain.need_s + (1.0 - chain.share) * chain.swap_s)
    idle: Real = stationary * (1.0 - chain.rate_rps * float(busy))
    return idle


def _waiting(chain: _Chain, idle: Real, s: Complex) -> Complex:
    """w_j(s): [..., stream]."""
    count = chain.share.size
    own, displaced = _transforms(chain, s)
    rows = np.broadcast_to(displaced[..., None, :], (*s.shape, count, count)).copy()
    diagonal = np.arange(count)
    rows[..., diagonal, diagonal] = own
    matrix = np.asarray(rows * (chain.rate_rps * chain.share), dtype=np.complex128)
    matrix[..., diagonal, diagonal] += s[..., None] - chain.rate_rps
    right = s[..., None] * idle
    solved = np.linalg.solve(np.swapaxes(matrix, -1, -2), right[..., None])
    return solved[..., 0].astype(np.complex128, copy=False)


def _terms(swapped: Sequence[Swapped]) -> list[tuple[Service, float, float]]:
    """Service, swap time and chance of a swap of each stream."""
    for one in swapped:
        if not 0.0 <= one.swap_s < np.inf:
            raise WorkloadError(
                f"stream {one.stream.name!r} has a swap time of {one.swap_s} s; "
                "give a finite one, or 0 s if its model stays in memory"
            )
    whole = sum(one.stream.rate_rps for one in swapped)
    return [(one.stream.service, one.swap_s, 1.0 - one.stream.rate_rps / whole) for one in swapped]


def _swapping(service: Service, swap_s: float, chance: float) -> Service:
    if swap_s == 0.0 or chance == 0.0:
        return service
    late = Service(
        service.mean_s + swap_s,
        service.second_moment_s2 + 2.0 * service.mean_s * swap_s + swap_s**2,
        total([service.law, deterministic(swap_s).law]),
    )
    return mixture([(chance, late), (1.0 - chance, service)])


def _effective(streams: Sequence[Stream], services: Sequence[Service]) -> list[Stream]:
    return [
        Stream(stream.name, stream.rate_rps, service)
        for stream, service in zip(streams, services, strict=True)
    ]


def _overload(streams: Sequence[Stream], services: Sequence[Service]) -> Unstable | None:
    return overload(_effective(streams, services))


def _as_fcfs(swapped: Sequence[Swapped], services: Sequence[Service]) -> tuple[Answer, ...]:
    streams = [one.stream for one in swapped]
    return tuple(
        answer
        if isinstance(answer, Unstable)
        else answer._replace(waiting_s=answer.mean_s - stream.service.mean_s)
        for stream, answer in zip(streams, mg1.fcfs(_effective(streams, services)), strict=True)
    )
