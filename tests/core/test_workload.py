"""Workload files: what is right is read, what is wrong is named with line, field and remedy."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.errors import WorkloadError
from cotenant.core.task import ClosedLoop, Criticality, OnFull, Periodic
from cotenant.core.units import format_duration, parse_duration
from cotenant.core.workload import load_workload, parse_workload, workload_schema

GOOD = """
name: camera
tasks:
  - name: detector
    model: zoo:squeezenet
    criticality: critical
    slo: {latency: 40ms, quantile: 0.95}
    arrivals: {kind: periodic, rate: 20/s}
  - name: labels
    model: models/labels.onnx
    priority: 3
    arrivals: {kind: closed-loop}
    queue: {max_size: 8, on_full: drop-oldest, timeout: 2s}
    batch: {max_size: 4, max_delay: 5ms}
"""


def test_a_good_file_is_read():
    detector, labels = parse_workload(GOOD, folder=Path("/base")).tasks
    assert detector.criticality is Criticality.CRITICAL
    assert (detector.slo.latency_s, detector.slo.quantile) == (0.04, 0.95)
    assert detector.arrivals == Periodic(kind="periodic", rate_rps=20.0)
    assert detector.model == "zoo:squeezenet"
    assert labels.model == "/base/models/labels.onnx"
    assert labels.arrivals == ClosedLoop(kind="closed-loop")
    assert labels.queue.on_full is OnFull.DROP_OLDEST
    assert (labels.queue.timeout_s, labels.batch.max_delay_s) == (2.0, 0.005)


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("criticality: critical", "criticalty: critical"), 6, "did you mean 'criticality'"),
        (("criticality: critical", "criticality: crit"), 6, "did you mean 'critical'"),
        (("kind: periodic", "kind: periodical"), 8, "did you mean 'periodic'"),
        (("rate: 20/s", "rat: 20/s"), 8, "did you mean 'rate'"),
        (("rate: 20/s", "rate: 20"), 8, "write it like '20/s'"),
        (("rate: 20/s", "rate: 0/s"), 8, "greater than 0"),
        (("latency: 40ms", "latency: fast"), 7, "is not a duration"),
        (("latency: 40ms", "latency: -40ms"), 7, "is not a duration"),
        (("quantile: 0.95", "quantile: 1"), 7, "less than 1"),
        (("name: labels", "name: detector"), 3, "two of them are named 'detector'"),
        (("on_full: drop-oldest", "on_full: drop_oldest"), 13, "did you mean 'drop-oldest'"),
        (("max_size: 8", "max_size: 0"), 13, "greater than or equal to 1"),
        (("priority: 3", "priority: three"), 11, "valid integer"),
        (("tasks:", "task:"), 3, "did you mean 'tasks'"),
        (("model: zoo:squeezenet", "modell: zoo:squeezenet"), 5, "did you mean 'model'"),
    ],
)
def test_a_mistake_is_named_with_line_and_remedy(change, line, words):
    with pytest.raises(WorkloadError) as caught:
        parse_workload(GOOD.replace(*change), source="w.yaml")
    message = str(caught.value)
    assert any(one.startswith(f"w.yaml:{line}:") and words in one for one in message.splitlines())


@pytest.mark.parametrize("text", ["", "[]", "tasks: []", "a: [", "tasks: {a: b}", "\t", "tasks:\n"])
def test_what_is_no_workload_is_refused(text):
    with pytest.raises(WorkloadError):
        parse_workload(text)


@given(st.text(max_size=200))
def test_no_text_crashes_the_reader(text):
    try:
        parse_workload(text)
    except WorkloadError:
        return
    assert isinstance(yaml.safe_load(text), dict)


def test_an_unknown_component_is_named():
    text = GOOD.replace("tasks:", "components: [{name: big, cores: [0]}]\ntasks:").replace(
        "priority: 3", "component: bgi"
    )
    with pytest.raises(WorkloadError, match="asks for component 'bgi'; there is 'big'"):
        parse_workload(text)


@pytest.mark.parametrize(
    ("component", "words"),
    [
        ("{name: g, kind: opencll}", "did you mean 'opencl'?"),
        ("{name: g}", "component 'g' has no cores; write cores"),
        ("{name: g, kind: opencl, cores: [0]}", "for opencl write device: 0"),
        ("{name: g, cores: [0], device: 0}", "'device' goes with kind: opencl or cuda"),
        ("{name: g, kind: opencl, device: -1}", "greater than or equal to 0"),
        ("{name: g, kind: opencl, devise: 0}", "did you mean 'device'?"),
    ],
)
def test_a_component_that_cannot_be_is_explained(component, words):
    with pytest.raises(WorkloadError) as caught:
        parse_workload(GOOD.replace("tasks:", f"components: [{component}]\ntasks:"))
    assert words in str(caught.value)


def test_components_of_several_kinds_are_read():
    text = GOOD.replace(
        "tasks:",
        "components: [{name: c, cores: [0]}, {name: g, kind: opencl}, "
        "{name: h, kind: cuda, device: 1}]\ntasks:",
    )
    kinds = [(one.kind, one.cores, one.device) for one in parse_workload(text).components]
    assert kinds == [("cpu", (0,), None), ("opencl", (), None), ("cuda", (), 1)]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WorkloadError, match=r"gone\.yaml"):
        load_workload(tmp_path / "gone.yaml")


def test_the_schema_names_every_field():
    schema = json.loads(workload_schema())
    task = schema["$defs"]["Task"]
    assert {"name", "model", "slo", "deadline", "arrivals"} <= set(task["properties"])
    assert task["additionalProperties"] is False


@given(st.floats(1e-8, 1e5))
def test_durations_survive_being_written_and_read(value_s):
    assert parse_duration(format_duration(value_s)) == pytest.approx(value_s, rel=0.006)
