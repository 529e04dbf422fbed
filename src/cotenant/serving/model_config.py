"""The text of a Triton `config.pbtxt` becomes a `Task`; what has no meaning here is named."""

import logging
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from pydantic import ValidationError

from cotenant.core.errors import ModelError
from cotenant.core.task import Task
from cotenant.serving.protocol import inference_pb2 as pb

_log = logging.getLogger(__name__)

_BACKENDS = ("", "onnxruntime")
_PLATFORMS = ("", "onnxruntime_onnx", "onnx_onnxv1")
# Keys of `parameters` that say what a workload file would say: our field, and how to read it.
_PARAMETERS: dict[str, tuple[str, type]] = {
    "criticality": ("criticality", str),
    "priority": ("priority", int),
    "deadline": ("deadline", str),
    "slowdown_max": ("slowdown_max", float),
    "component": ("component", str),
    "width": ("width", int),
    "segments": ("segments", int),
}


def parse_config(text: str, source: str) -> pb.ModelConfig:
    """Read the text form; fields that we do not know are skipped with a warning."""
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as first:
        try:
            config = text_format.Parse(text, pb.ModelConfig(), allow_unknown_field=True)
        except text_format.ParseError as error:
            raise ModelError(f"{source}: not a valid model configuration: {error}") from error
        _log.warning("%s: fields that mean nothing here are skipped: %s", source, first)
        return config


def task_of(name: str, model: Path, config: pb.ModelConfig, source: str) -> Task:
    """The task that a configuration describes."""
    if config.name not in ("", name):
        raise ModelError(f"{source}: name is {config.name!r} in the folder of {name!r}; make it so")
    if config.backend not in _BACKENDS or config.platform not in _PLATFORMS:
        raise ModelError(
            f"{source}: backend {config.backend or config.platform!r} is not served; "
            "export the model to ONNX and say backend: 'onnxruntime'"
        )
    fields: dict[str, Any] = {"name": name, "model": str(model)}
    batching = config.dynamic_batching
    fields["batch"] = {
        "max_size": max(1, config.max_batch_size),
        "max_delay": batching.max_queue_delay_microseconds * 1e-6,
    }
    fields["queue"] = _queue(batching, source)
    slo: dict[str, Any] = {}
    arrivals: dict[str, Any] = {}
    for key, parameter in config.parameters.items():
        value = parameter.string_value
        if key == "slo":
            slo["latency"] = value
        elif key == "slo_quantile":
            slo["quantile"] = _number(float, key, value, source)
        elif key == "rate":
            arrivals["rate"] = value
        elif key == "arrivals":
            arrivals["kind"] = value
        elif key in _PARAMETERS:
            field, read = _PARAMETERS[key]
            fields[field] = value if read is str else _number(read, key, value, source)
        else:
            _log.warning("%s: parameter %r means nothing here", source, key)
    if slo:
        fields["slo"] = slo
    if arrivals:
        fields["arrivals"] = {"kind": "poisson"} | arrivals
    _warn(config, source)
    try:
        return Task.model_validate(fields)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise ModelError(f"{source}: {field}: {fault['msg']}") from error


def _queue(batching: pb.ModelDynamicBatching, source: str) -> dict[str, Any]:
    policy = batching.default_queue_policy
    queue: dict[str, Any] = {
        "priority_levels": batching.priority_levels,
        "default_level": batching.default_priority_level,
    }
    if policy.max_queue_size:
        queue["max_size"] = policy.max_queue_size
    if policy.default_timeout_microseconds:
        queue["timeout"] = policy.default_timeout_microseconds * 1e-6
    if policy.timeout_action == pb.ModelQueuePolicy.DELAY:
        _log.warning("%s: timeout_action DELAY is not supported; requests are rejected", source)
    if batching.priority_queue_policy:
        _log.warning("%s: all priority levels share default_queue_policy", source)
    return queue


def _number(read: type, key: str, value: str, source: str) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise ModelError(f"{source}: parameter {key!r} is {value!r}; write a number") from error


def _warn(config: pb.ModelConfig, source: str) -> None:
    reshaped = [tensor.name for tensor in config.input if tensor.HasField("reshape")]
    reshaped += [tensor.name for tensor in config.output if tensor.HasField("reshape")]
    if reshaped:
        _log.warning("%s: reshape of %s is not supported", source, ", ".join(reshaped))
    for group in config.instance_group:
        if group.kind == pb.ModelInstanceGroup.KIND_GPU:
            _log.warning("%s: KIND_GPU is served on the CPU", source)
        if group.count > 1:
            _log.warning("%s: one instance is served, with all threads", source)
