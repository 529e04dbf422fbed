"""Records become the per-model statistics that Triton's clients and load generators read.

What the words mean to them, and where a record says it:

| statistic       | counts           | lasts from                 | until                         |
| --------------- | ---------------- | -------------------------- | ----------------------------- |
| inference_count | rows             |                            |                               |
| execution_count | launches         |                            |                               |
| success, fail   | requests         | arrival                    | outputs taken out of the lane |
| queue           | requests         | arrival                    | the launch was decided        |
| compute_input   | requests         | the launch was decided     | the model starts              |
| compute_infer   | requests         | the model starts           | the model ends                |
| compute_output  | requests         | the model ends             | outputs taken out of the lane |
| batch_stats     | launches by rows | the three computes alone   |                               |

So queue and the three computes of answered requests add up to success, and what a client sees
beyond it was spent on the network and in the protocol. Pauses between two segments of one
launch belong to compute_infer: Triton has no other word for them.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from cotenant.core.clock import wall_time_s
from cotenant.core.record import Outcome, Record


class Totals(NamedTuple):
    """What a model has done so far."""

    requests: int
    """Answered ones; those that failed are not in any of these."""
    rows: int
    launches: int
    queue_s: float
    input_s: float
    infer_s: float
    output_s: float

    @property
    def success_s(self) -> float:
        return self.queue_s + self.input_s + self.infer_s + self.output_s


class _Batches:
    """Sums over the requests that ran in batches of one form: so many rows, so many requests."""

    __slots__ = ("infer_s", "input_s", "output_s", "queue_s", "requests", "rows")

    def __init__(self) -> None:
        self.requests = self.rows = 0
        self.queue_s = self.input_s = self.infer_s = self.output_s = 0.0


class _Model:
    """Everything that is known of one model."""

    def __init__(self) -> None:
        self.failed = 0
        self.failed_s = 0.0
        self.batches: dict[tuple[int, int], _Batches] = {}
        """By rows and requests of a batch; one lookup is all that a request costs."""
        self.last_inference_s = 0.0


class Statistics:
    """A record listener that keeps `model_stats`."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def __call__(self, record: Record) -> None:
        model = self._models.get(record.task)
        if model is None:
            model = self._models[record.task] = _Model()
        start_s = record.start_s
        if record.outcome is not Outcome.OK or start_s is None:
            model.failed += 1
            model.failed_s += record.end_s - record.arrival_s
            return
        form = (record.batch_rows, record.batch)
        sums = model.batches.get(form)
        if sums is None:
            sums = model.batches[form] = _Batches()
        run_s = record.segments[0][0] if record.segments else start_s
        sums.requests += 1
        sums.rows += record.rows
        sums.queue_s += start_s - record.arrival_s
        sums.input_s += run_s - start_s
        sums.infer_s += record.end_s - run_s
        sums.output_s += record.output_s
        model.last_inference_s = wall_time_s()

    def totals(self, name: str) -> Totals:
        """Sums over everything that the model has answered."""
        model = self._models.get(name) or _Model()
        return _totals(model.batches.items())

    def describe(self, name: str, version: str) -> dict[str, Any]:
        """One entry of `model_stats`."""
        model = self._models.get(name) or _Model()
        totals = _totals(model.batches.items())
        return {
            "name": name,
            "version": version,
            "last_inference": round(model.last_inference_s * 1e3),
            "inference_count": totals.rows,
            "execution_count": totals.launches,
            "inference_stats": {
                "success": _duration(totals.requests, totals.success_s),
                "fail": _duration(model.failed, model.failed_s),
                "queue": _duration(totals.requests, totals.queue_s),
                "compute_input": _duration(totals.requests, totals.input_s),
                "compute_infer": _duration(totals.requests, totals.infer_s),
                "compute_output": _duration(totals.requests, totals.output_s),
            },
            "batch_stats": _describe_batches(model),
        }


def _describe_batches(model: _Model) -> list[dict[str, Any]]:
    described = []
    for rows in sorted({rows for rows, _ in model.batches}):
        input_s = infer_s = output_s = 0.0
        launches = 0
        for (of_rows, requests), sums in model.batches.items():
            if of_rows == rows:
                # A batch of n requests leaves n records, each with the whole batch's times.
                launches += sums.requests // requests
                input_s += sums.input_s / requests
                infer_s += sums.infer_s / requests
                output_s += sums.output_s / requests
        described.append(
            {
                "batch_size": rows,
                "compute_input": _duration(launches, input_s),
                "compute_infer": _duration(launches, infer_s),
                "compute_output": _duration(launches, output_s),
            }
        )
    return described


def _totals(batches: Iterable[tuple[tuple[int, int], _Batches]]) -> Totals:
    seen = list(batches)
    return Totals(
        requests=sum(sums.requests for _, sums in seen),
        rows=sum(sums.rows for _, sums in seen),
        launches=sum(sums.requests // requests for (_, requests), sums in seen),
        queue_s=sum(sums.queue_s for _, sums in seen),
        input_s=sum(sums.input_s for _, sums in seen),
        infer_s=sum(sums.infer_s for _, sums in seen),
        output_s=sum(sums.output_s for _, sums in seen),
    )


def _duration(count: int, total_s: float) -> dict[str, int]:
    return {"count": count, "ns": round(total_s * 1e9)}
