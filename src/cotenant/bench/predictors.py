"""A workload and a profile go in; what each predictor says of every task comes out.

Beside our own stand two plain ones, so that its error can be seen for what it is:

- `service-time-alone`: as if nothing ran beside it. Mean and quantiles are those of the
  profile.
- `published`: the queueing model of "Model-driven cluster resource management for AI workloads
  in edge clouds" (arXiv 2201.07312): all tasks as one M/G/1 queue, `R_i = s_i + W` with
  `W = lambda E[S^2] / (2 (1 - rho))`, first come first served; for a time-sliced accelerator
  (here: policy `concurrent`) `R_i = s_i + 1/(mu - lambda) - 1/mu`. It has means only. The
  quantiles that stand beside them are those of the same queue (of the waiting time's
  Pollaczek-Khinchine transform; under time slicing the waiting is taken as exponential).

Both plain ones are given what ours measured outside of the service: the time at the front.
"""

from collections.abc import Callable, Mapping

from cotenant.bench.records import Forecast
from cotenant.core.workload import Workload
from cotenant.prediction.figures import Prediction
from cotenant.prediction.predict import predict
from cotenant.prediction.tenancy import Tenancy, mix_of, service_law
from cotenant.prediction.virtual import Budget, VirtualClock
from cotenant.profiling.profile import Profile
from cotenant.profiling.subject import subject_of
from cotenant.queueing import mg1
from cotenant.queueing.law import Law, total
from cotenant.queueing.service import Service, exponential
from cotenant.queueing.stream import Sojourn

OWN = "cotenant"
PLAIN = ("service-time-alone", "published")

Predictor = Callable[[Workload, Profile], tuple[Forecast, ...]]

_BUDGET = Budget(requests=20_000, rarest=2_000, most=40_000)


def own(workload: Workload, profile: Profile) -> tuple[Forecast, ...]:
    """`cotenant predict`, with a longer run of the virtual clock."""
    prediction = predict(workload, profile, subject_of, simulate=VirtualClock(_BUDGET))
    return forecasts_of(workload, prediction)


def forecasts_of(workload: Workload, prediction: Prediction) -> tuple[Forecast, ...]:
    """What `cotenant predict` says, as lines of records."""
    return tuple(
        Forecast(
            workload.name,
            workload.policy,
            OWN,
            one.task,
            one.mean_s,
            one.p95_s,
            one.p99_s,
            one.attainment,
            one.fits,
            one.method,
        )
        for one in prediction.tasks
    )


def service_time_alone(workload: Workload, profile: Profile) -> tuple[Forecast, ...]:
    """As if each task had the machine to itself."""
    return tuple(
        _forecast(workload, PLAIN[0], one, one.service.mean_s, one.service.law)
        for one in _alone(workload, profile)
    )


def published(workload: Workload, profile: Profile) -> tuple[Forecast, ...]:
    """One queue for all tasks, whatever their criticality."""
    tenancies = _alone(workload, profile)
    streams = [one.stream for one in tenancies]
    if workload.policy == "concurrent":
        whole = mg1.folded(streams)
        waiting_s = 1.0 / (1.0 / whole.service.mean_s - whole.rate_rps) - whole.service.mean_s
        waiting: Service | None = exponential(waiting_s) if waiting_s > 0.0 else None
        return tuple(
            _forecast(
                workload,
                PLAIN[1],
                one,
                one.service.mean_s + waiting_s if waiting is not None else None,
                total([waiting.law, one.service.law]) if waiting is not None else None,
            )
            for one in tenancies
        )
    return tuple(
        _forecast(
            workload,
            PLAIN[1],
            one,
            answer.mean_s if isinstance(answer, Sojourn) else None,
            answer.law if isinstance(answer, Sojourn) and isinstance(answer.law, Law) else None,
        )
        for one, answer in zip(tenancies, mg1.fcfs(streams), strict=True)
    )


PREDICTORS: Mapping[str, Predictor] = {
    OWN: own,
    PLAIN[0]: service_time_alone,
    PLAIN[1]: published,
}


def _alone(workload: Workload, profile: Profile) -> tuple[Tenancy, ...]:
    """The tasks with what was measured of each alone, and no company at all."""
    mix = mix_of(workload, profile, subject_of, overlapping=False)
    return tuple(one._replace(service=service_law(one.alone[0].service)) for one in mix.calm)


def _forecast(
    workload: Workload, predictor: str, one: Tenancy, mean_s: float | None, law: Law | None
) -> Forecast:
    around_s = one.alone[0].around_s

    def quantile_s(quantile: float) -> float | None:
        return None if law is None else law.quantile_s(quantile) + around_s

    slo = one.task.slo
    attainment = None
    if slo is not None:
        late = 1.0 if law is None else float(law.tail(max(0.0, slo.latency_s - around_s))[0])
        attainment = 1.0 - late
    return Forecast(
        workload.name,
        workload.policy,
        predictor,
        one.task.name,
        None if mean_s is None else mean_s + around_s,
        quantile_s(0.95),
        quantile_s(0.99),
        attainment,
        slo is None or (attainment is not None and attainment >= slo.quantile),
        predictor,
    )
