"""A served task becomes the metadata and the configuration that clients ask for."""

from typing import Any

from cotenant.runtime.base import Served
from cotenant.serving.form import Form, Slot

_ONNX, _BUNDLE = "onnxruntime_onnx", "cotenant_bundle"
_KINDS = {"cpu": "KIND_CPU"}
"""Triton's words for what an instance runs on."""


def describe_metadata(served: Served, form: Form) -> dict[str, Any]:
    """Names, types and shapes, as `/v2/models/NAME` shows them."""

    def tensor(slot: Slot) -> dict[str, Any]:
        return {"name": slot.name, "datatype": slot.datatype, "shape": slot.wire_shape}

    return {
        "name": served.task.name,
        "versions": [served.version],
        "platform": _platform(served),
        "inputs": [tensor(slot) for slot in form.inputs.values()],
        "outputs": [tensor(slot) for slot in form.outputs.values()],
    }


def describe_config(served: Served, form: Form) -> dict[str, Any]:
    """The configuration in the fields of Triton's `ModelConfig`, which load generators read."""
    task = served.task
    max_batch_size = form.max_rows if form.batched else 0

    def tensor(slot: Slot) -> dict[str, Any]:
        dims = slot.wire_shape[1:] if max_batch_size else slot.wire_shape
        kind = "STRING" if slot.datatype == "BYTES" else slot.datatype
        return {"name": slot.name, "data_type": f"TYPE_{kind}", "dims": dims}

    queue: dict[str, Any] = {
        "timeout_action": "REJECT",
        "allow_timeout_override": True,
        "max_queue_size": task.queue.max_size,
    }
    if task.queue.timeout_s is not None:
        queue["default_timeout_microseconds"] = round(task.queue.timeout_s * 1e6)
    parameters = {"criticality": task.criticality.value, "priority": str(task.priority)}
    if task.slo is not None:
        parameters["slo"] = f"{task.slo.latency_s * 1e3:g}ms"
        parameters["slo_quantile"] = f"{task.slo.quantile:g}"
    return {
        "name": task.name,
        "platform": _platform(served),
        "backend": "onnxruntime" if _platform(served) == _ONNX else "cotenant",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": max_batch_size,
        "input": [tensor(slot) for slot in form.inputs.values()],
        "output": [tensor(slot) for slot in form.outputs.values()],
        "instance_group": [
            {"name": served.component, "kind": _KINDS.get(served.kind, "KIND_GPU"), "count": 1}
        ],
        "dynamic_batching": {
            "max_queue_delay_microseconds": round(task.batch.max_delay_s * 1e6),
            "preserve_ordering": False,
            "priority_levels": task.queue.priority_levels,
            "default_priority_level": task.queue.default_level,
            "default_queue_policy": queue,
        },
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }


def _platform(served: Served) -> str:
    return _ONNX if served.kind in _KINDS else _BUNDLE
