"""Streams and a number of equal servers go in; sojourns at their common queue come out."""

from collections.abc import Sequence

from cotenant.core.errors import WorkloadError
from cotenant.queueing.inversion import Complex
from cotenant.queueing.law import Law, Part, total
from cotenant.queueing.mg1 import aggregate
from cotenant.queueing.periodic import superposed_scv
from cotenant.queueing.stream import Answer, Sojourn, Stream, overload


def erlang_b(servers: int, offered: float) -> float:
    """Chance that all servers are busy when nobody waits (M/G/c/c); offered load in erlang.

    1/B(c) = 1 + c / (a B(c-1)), B(0) = 1. Exact. Source: Erlang (1917).

    >>> round(erlang_b(10, 5.0), 5)
    0.01838
    """
    _require_servers(servers)
    blocked = 1.0
    for busy in range(1, servers + 1):
        blocked = offered * blocked / (busy + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Chance that an arrival waits in M/M/c; offered load in erlang, under the servers.

    C = c B / (c - a (1 - B)). Exact. Source: Erlang (1917).

    >>> round(erlang_c(10, 5.0), 5), round(erlang_c(1, 0.7), 5)
    (0.03611, 0.7)
    """
    blocked = erlang_b(servers, offered)
    return servers * blocked / (servers - offered * (1.0 - blocked))


def fcfs(streams: Sequence[Stream], servers: int) -> tuple[Answer, ...]:
    """One queue, first come first served, for `servers` servers: GI/G/c.

    W = (c_a^2 + c_s^2) / 2 * C(c, a) E[S] / (c - a): Allen and Cunneen's approximation (Allen,
    Probability, Statistics and Queueing Theory (1978)); for Poisson arrivals it is Lee and
    Longton's (1959). Exact for M/M/c and, in the mean, M/G/1. Law: waits with Erlang's chance
    C, and then exponentially; exact for M/M/c. A periodic stream's c_a^2 is that of
    `superposed_scv`.

    >>> from cotenant.queueing.service import exponential
    >>> [answer] = fcfs([Stream("a", 8.0, exponential(1.0))], 10)
    >>> round(answer.waiting_s, 4)
    0.2046
    """
    _require_servers(servers)
    unstable = overload(streams, servers)
    if unstable is not None:
        return (unstable,) * len(streams)
    merged = aggregate(streams)
    chance = erlang_c(servers, merged.load)
    arrival_scv = superposed_scv(streams, merged.load / servers)
    given_s = (arrival_scv + merged.service.scv) / 2.0 * merged.service.mean_s
    given_s /= servers - merged.load

    def excess(s: Complex) -> Complex:
        return 1.0 - chance + chance / (1.0 + s * given_s)

    waiting = Law((Part(1.0, 0.0, 1.0 - chance, chance * given_s, excess),))
    return tuple(
        Sojourn(
            chance * given_s + stream.service.mean_s,
            chance * given_s,
            merged.load / servers,
            total([waiting, stream.service.law]),
        )
        for stream in streams
    )


def _require_servers(servers: int) -> None:
    if servers < 1:
        raise WorkloadError(f"{servers} servers serve nothing; give at least one")
