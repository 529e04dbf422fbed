"""Records become the per-model statistics that Triton's clients and load generators read."""

from typing import Any

from cotenant.core.clock import wall_time_s
from cotenant.core.record import Outcome, Record


class _Duration:
    """How often something happened, and how long it took in all."""

    __slots__ = ("count", "total_s")

    def __init__(self) -> None:
        self.count = 0
        self.total_s = 0.0

    def add(self, duration_s: float) -> None:
        self.count += 1
        self.total_s += duration_s

    def describe(self) -> dict[str, int]:
        return {"count": self.count, "ns": round(self.total_s * 1e9)}


class _Model:
    """Sums over the requests of one model."""

    def __init__(self) -> None:
        self.success = _Duration()
        self.fail = _Duration()
        self.waiting = _Duration()
        self.service = _Duration()
        self.by_batch: dict[int, _Duration] = {}
        self.last_inference_s = 0.0


class Statistics:
    """A record listener that keeps `model_stats`."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def __call__(self, record: Record) -> None:
        model = self._models.get(record.task)
        if model is None:
            model = self._models[record.task] = _Model()
        if record.outcome is not Outcome.OK:
            model.fail.add(record.sojourn_s)
            return
        service_s = record.service_s or 0.0
        model.success.add(record.sojourn_s)
        model.waiting.add(record.waiting_s)
        model.service.add(service_s)
        model.by_batch.setdefault(record.batch, _Duration()).add(service_s)
        model.last_inference_s = wall_time_s()

    def describe(self, name: str, version: str) -> dict[str, Any]:
        """One entry of `model_stats`."""
        model = self._models.get(name) or _Model()
        done = model.success.count
        # Copies into and out of the lane are part of the service time.
        none = {"count": done, "ns": 0}
        # A batch of n requests leaves n records, each with the whole batch's time.
        batches = {
            size: {"count": spent.count // size, "ns": round(spent.total_s * 1e9 / size)}
            for size, spent in sorted(model.by_batch.items())
            if size > 0
        }
        return {
            "name": name,
            "version": version,
            "last_inference": round(model.last_inference_s * 1e3),
            "inference_count": done,
            "execution_count": sum(batch["count"] for batch in batches.values()),
            "inference_stats": {
                "success": model.success.describe(),
                "fail": model.fail.describe(),
                "queue": model.waiting.describe(),
                "compute_input": none,
                "compute_infer": model.service.describe(),
                "compute_output": none,
            },
            "batch_stats": [
                {
                    "batch_size": size,
                    "compute_input": {"count": batch["count"], "ns": 0},
                    "compute_infer": batch,
                    "compute_output": {"count": batch["count"], "ns": 0},
                }
                for size, batch in batches.items()
            ],
        }
