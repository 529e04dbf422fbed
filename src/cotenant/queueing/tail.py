"""Answers and latency targets go in; quantiles and attainments come out.

Quantiles of a full law are exact (`Law.quantile_s`); here are the questions asked of them, and
what can be said where only moments are known.
"""

from scipy.stats import gamma

from cotenant.core.errors import WorkloadError
from cotenant.queueing.service import Service
from cotenant.queueing.stream import Answer, Unstable


def attainment(answer: Answer, latency_s: float) -> float | None:
    """Fraction of requests within the latency; 0 when unstable, `None` without a law.

    >>> from cotenant.queueing.mg1 import fcfs
    >>> from cotenant.queueing.service import exponential
    >>> from cotenant.queueing.stream import Stream
    >>> [answer] = fcfs([Stream("a", 0.5, exponential(1.0))])
    >>> round(attainment(answer, 2.0), 6)  # exponential, mean 2: 1 - 1/e
    0.632121
    """
    if isinstance(answer, Unstable):
        return 0.0
    return None if answer.law is None else 1.0 - float(answer.law.tail(latency_s)[0])


def gamma_quantile_s(mean_s: float, variance_s2: float, quantile: float) -> float:
    """Quantile of the gamma law with this mean and variance, in seconds.

    An approximation for any time of which two moments are known; exact for exponential and
    Erlang times. Source: two-moment fit, as in Tijms, A First Course in Stochastic Models (2003),
    appendix B.

    >>> round(gamma_quantile_s(1.0, 1.0, 0.99), 5)  # ln 100
    4.60517
    """
    if not (mean_s > 0.0 and variance_s2 >= 0.0 and 0.0 < quantile < 1.0):
        raise WorkloadError(
            f"no gamma law has mean {mean_s} s, variance {variance_s2} s^2 and quantile {quantile}"
            "; give a mean over 0, a variance of at least 0 and a quantile between 0 and 1"
        )
    if variance_s2 == 0.0:
        return mean_s
    return float(gamma.ppf(quantile, mean_s**2 / variance_s2, scale=variance_s2 / mean_s))


def kingman_tail_rate(rate_rps: float, service: Service) -> float:
    """Decay rate, per second, of the waiting time in heavy traffic: P(W > t) ~ exp(-rate t).

    rate = 2 (1 - rho) / (lambda E[S^2]), the inverse of the mean waiting time of M/G/1; rho < 1.
    Exact for M/M/1, asymptotically exact as rho -> 1. Source: Kingman (1962).

    >>> from cotenant.queueing.service import exponential
    >>> kingman_tail_rate(0.5, exponential(1.0))
    1.0
    """
    return 2.0 * (1.0 - rate_rps * service.mean_s) / (rate_rps * service.second_moment_s2)
