"""Records and the machine's state become Prometheus metrics named `cotenant_*`."""

from collections.abc import Iterable, Iterator

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cotenant.core.record import Outcome, Record
from cotenant.runtime.base import Runtime, State
from cotenant.serving.statistics import Statistics

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_RATIOS = (0.9, 1.0, 1.03, 1.1, 1.15, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_WEIGHT = 0.05
"""How much the newest request that ran alone counts in the mean of those before."""
_LABELS = ("model", "criticality")
_SUMS = (
    ("rows", "inferences", "Rows of answered requests."),
    ("launches", "executions", "Launches of the model; each runs one batch."),
    ("input_s", "compute_input_seconds", "From decision to the model's start, over requests."),
    ("infer_s", "compute_infer_seconds", "From the model's start to its end, over requests."),
    ("output_s", "compute_output_seconds", "From the model's end to outputs in hand."),
)
"""Field of `Totals`, name of the metric, meaning."""
_PAUSE_QUANTILES = (0.5, 0.99)


class _Series:
    """The children of one task's label values, looked up once."""

    def __init__(self, metrics: "Metrics", task: str, critical: bool) -> None:
        labels = (task, "critical" if critical else "best-effort")
        self.requests = {
            outcome: metrics.requests.labels(*labels, outcome.value) for outcome in Outcome
        }
        self.latency = metrics.latency.labels(*labels)
        self.waiting = metrics.waiting.labels(*labels)
        self.service = metrics.service.labels(*labels)
        self.slowdown = metrics.slowdown.labels(*labels)
        self.alone_s: float | None = None
        """Mean latency of the requests that ran with nothing beside them."""


class Metrics:
    """A record listener with a registry of its own."""

    def __init__(self, runtime: Runtime, statistics: Statistics) -> None:
        """`statistics` hears the same records; its sums are read when they are scraped."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "cotenant_requests",
            "Requests by how they ended.",
            (*_LABELS, "outcome"),
            registry=self.registry,
        )
        self.latency = self._histogram(
            "latency_seconds", "Time from a request's arrival to its answer.", _SECONDS
        )
        self.waiting = self._histogram(
            "queue_seconds", "Time from a request's arrival to its start.", _SECONDS
        )
        self.service = self._histogram(
            "service_seconds", "Time from a request's start to its answer.", _SECONDS
        )
        self.slowdown = self._histogram(
            "slowdown", "Latency over the mean latency of the task's requests alone.", _RATIOS
        )
        self.registry.register(_Now(runtime))
        self.registry.register(_Sums(runtime, statistics))
        self._series: dict[tuple[str, bool], _Series] = {}

    def __call__(self, record: Record) -> None:
        key = (record.task, record.critical)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(self, *key)
        series.requests[record.outcome].inc()
        if record.outcome is not Outcome.OK:
            return
        sojourn_s = record.sojourn_s + record.output_s
        series.latency.observe(sojourn_s)
        series.waiting.observe(record.waiting_s)
        series.service.observe(sojourn_s - record.waiting_s)
        if record.alone:
            known_s = series.alone_s
            series.alone_s = (
                sojourn_s if known_s is None else known_s + _WEIGHT * (sojourn_s - known_s)
            )
        if series.alone_s:
            series.slowdown.observe(sojourn_s / series.alone_s)

    def exposition(self) -> bytes:
        """What Prometheus scrapes."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(
            f"cotenant_{name}", meaning, _LABELS, buckets=tuple(buckets), registry=self.registry
        )


class _Now(Collector):
    """What is read from the machine when it is scraped."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterator[Metric]:
        labels = (*_LABELS, "component")
        depth = GaugeMetricFamily("cotenant_queue_depth", "Requests that wait now.", labels=labels)
        ready = GaugeMetricFamily("cotenant_ready", "1 if the model can be asked.", labels=labels)
        ratio = GaugeMetricFamily(
            "cotenant_slowdown_now",
            "Latency over latency alone, as the guard sees it.",
            labels=labels,
        )
        restarts = CounterMetricFamily(
            "cotenant_lane_restarts", "Deaths of a lane that were mended.", labels=labels
        )
        for name, served in self._runtime.served.items():
            values = (name, served.task.criticality.value, served.component)
            depth.add_metric(values, self._runtime.queued(name))
            ready.add_metric(values, served.state is State.READY)
            restarts.add_metric(values, self._runtime.lane_restarts(name))
            slowdown = self._runtime.slowdown(name)
            if slowdown is not None:
                ratio.add_metric(values, slowdown)
        pauses = GaugeMetricFamily(
            "cotenant_pause_seconds",
            "From a critical arrival until best-effort work had left the device, lately.",
            labels=("component", "quantile"),
        )
        for component, pauses_s in self._runtime.pauses_s().items():
            for quantile in _PAUSE_QUANTILES if pauses_s else ():
                at = float(np.quantile(pauses_s, quantile))
                pauses.add_metric((component, str(quantile)), at)
        yield from (depth, ready, ratio, restarts, pauses)


class _Sums(Collector):
    """The sums of Triton's statistics as counters: they cost nothing until they are scraped."""

    def __init__(self, runtime: Runtime, statistics: Statistics) -> None:
        self._runtime = runtime
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        counters = {
            field: CounterMetricFamily(f"cotenant_{name}", meaning, labels=_LABELS)
            for field, name, meaning in _SUMS
        }
        for name, served in self._runtime.served.items():
            totals = self._statistics.totals(name)
            for field, counter in counters.items():
                counter.add_metric((name, served.task.criticality.value), getattr(totals, field))
        yield from counters.values()
