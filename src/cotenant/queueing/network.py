"""Sojourns of stages in a row go in; the end-to-end sojourn comes out."""

from collections.abc import Sequence

from cotenant.core.errors import WorkloadError
from cotenant.queueing.law import Law, total
from cotenant.queueing.service import Service
from cotenant.queueing.stream import Answer, Sojourn, Unstable


def delay(service: Service) -> Sojourn:
    """A stage where nobody waits: a transfer, or a server for everyone (G/G/infinity). Exact.

    >>> from cotenant.queueing.service import deterministic
    >>> delay(deterministic(0.01)).mean_s
    0.01
    """
    return Sojourn(service.mean_s, 0.0, 0.0, service.law)


def tandem(stages: Sequence[Answer]) -> Answer:
    """A request that passes the stages one after the other: front end, transfer, accelerator.

    E[T] = sum E[T_k]; E[exp(-sT)] = prod E[exp(-sT_k)]. The mean is exact if every stage's is.
    The law assumes that a request's stages are independent, and that each stage sees Poisson
    arrivals: exact for M/M/1 stages in a row (Burke 1956, Reich 1963), an approximation else.
    The first unstable stage is the answer; utilization is that of the busiest stage.

    >>> from cotenant.queueing.service import exponential
    >>> path = tandem([delay(exponential(1.0)), delay(exponential(1.0))])
    >>> round(path.quantile_s(0.95), 5)  # Erlang-2
    4.74386
    """
    if not stages:
        raise WorkloadError("no stage to pass; give at least one")
    passed: list[Sojourn] = []
    for stage in stages:
        if isinstance(stage, Unstable):
            return stage
        passed.append(stage)
    # A law that was only observed has no transform to multiply: the sum has a mean alone then.
    laws = [stage.law for stage in passed if isinstance(stage.law, Law)]
    return Sojourn(
        sum(stage.mean_s for stage in passed),
        sum(stage.waiting_s for stage in passed),
        max(stage.utilization for stage in passed),
        total(laws) if len(laws) == len(passed) else None,
    )
