"""The CPU device with real interpreters: numbers, batches, deaths, and nothing left behind."""

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from cotenant.core.errors import ExecutionError, InvalidRequest, LaneLost
from cotenant.core.model import ModelFiles
from cotenant.core.request import Request
from cotenant.core.task import Task
from cotenant.device.base import Allowance, Completed, Event, Failed, Loaded, LoadFailed
from cotenant.device.cpu.device import CpuDevice
from cotenant.device.cpu.lane import Lane
from cotenant.device.cpu.scheduling import best_rung
from tests.models import scale_model, slow_model, sum_model, text_model


@pytest.fixture
def device():
    device = CpuDevice({"cpu": (0, 1)}, lambda task: ModelFiles((task.model,)), best_rung())
    yield device
    device.close()


def following(device: CpuDevice, count: int, kind: type[Event] | None = None) -> list[Event]:
    """The next events, waiting for each as an event loop would."""
    events: list[Event] = []
    while len(events) < count:
        ready, _, _ = select.select([device.fileno()], [], [], 30)
        assert ready, f"the device fell silent after {events}"
        events += [one for one in device.poll() if kind is None or isinstance(one, kind)]
    return events


def request(task: str, number: int = 1, **inputs: np.ndarray) -> Request:
    rows = len(next(iter(inputs.values())))
    return Request(number, task, 0.0, rows=rows, inputs=inputs)


def load(device: CpuDevice, model: Path, name: str = "t", **fields: object) -> Loaded:
    device.load(Task(name=name, model=str(model), **fields), "cpu")
    (event,) = following(device, 1)
    assert isinstance(event, Loaded), event
    return event


def run(device: CpuDevice, *requests: Request, segment: int = 0) -> Event:
    device.launch(requests[0].task, requests, segment)
    (event,) = following(device, 1)
    return event


def test_outputs_equal_the_runtime_called_directly(device, tmp_path):
    model = slow_model(tmp_path, size=64)
    signature = load(device, model, criticality="critical").signature
    assert signature is not None
    assert [(s.name, s.dtype, s.shape) for s in signature.inputs] == [("x", "float32", (None, 64))]
    x = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)
    done = run(device, request("t", x=x))
    assert isinstance(done, Completed)
    assert done.end_s >= done.start_s
    (expected,) = onnxruntime.InferenceSession(model).run(["y"], {"x": x})
    np.testing.assert_array_equal(done.outputs[0]["y"], expected)


def test_a_batch_is_divided_among_its_requests(device, tmp_path):
    load(device, scale_model(tmp_path, 3.0))
    parts = [np.full((rows, 4), rows, np.float32) for rows in (1, 3, 2)]
    done = run(device, *(request("t", n, x=x) for n, x in enumerate(parts)))
    for outputs, x in zip(done.outputs, parts, strict=True):
        np.testing.assert_array_equal(outputs["y"], 3 * x)


def test_outputs_outlive_the_next_launch(device, tmp_path):
    load(device, scale_model(tmp_path))
    first = run(device, request("t", x=np.ones((1, 4), np.float32)))
    run(device, request("t", x=np.zeros((1, 4), np.float32)))
    np.testing.assert_array_equal(first.outputs[0]["y"], np.full((1, 4), 2))


def test_shared_memory_grows_with_the_request(device, tmp_path):
    load(device, scale_model(tmp_path))
    for rows in (1, 50_000, 2, 400_000):
        x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
        np.testing.assert_array_equal(run(device, request("t", x=x)).outputs[0]["y"], 2 * x)


def test_strings_pass_through(device, tmp_path):
    load(device, text_model(tmp_path))
    texts = np.array([b"", "grüße".encode(), b"a" * 70_000], object)
    outputs = run(device, request("t", x=texts)).outputs[0]
    assert [text.decode() for text in outputs["y"]] == ["", "grüße", "a" * 70_000]


def test_a_model_that_does_not_batch_says_so(device, tmp_path):
    load(device, sum_model(tmp_path))
    x = np.ones((1, 4), np.float32)
    failed = run(device, request("t", 1, x=x), request("t", 2, x=x))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ExecutionError)
    assert "batch.max_size" in str(failed.error)
    assert run(device, request("t", x=x)).outputs[0]["y"] == 4


def test_inputs_that_the_model_cannot_run_fail_alone(device, tmp_path):
    load(device, scale_model(tmp_path))
    failed = run(device, request("t", x=np.ones((1, 5), np.float32)))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, InvalidRequest)
    assert not failed.lane_lost
    assert isinstance(run(device, request("t", x=np.ones((1, 4), np.float32))), Completed)


def test_a_missing_input_is_named(device, tmp_path):
    load(device, scale_model(tmp_path))
    failed = run(device, request("t", images=np.ones((1, 4), np.float32)))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, InvalidRequest)
    assert "there is no tensor 'x' among them" in str(failed.error)


def test_a_killed_interpreter_fails_its_request_and_comes_back(device, tmp_path):
    load(device, slow_model(tmp_path), "victim")
    load(device, scale_model(tmp_path), "other", criticality="critical")
    x = np.ones((1, 1000), np.float32)
    for death in range(1, 4):
        device.launch("victim", [request("victim", x=x)], 0)
        pid, _ = device.lanes()["victim"]
        os.kill(pid, signal.SIGKILL)
        (lost,) = following(device, 1)
        assert isinstance(lost, Failed)
        assert lost.lane_lost
        assert isinstance(lost.error, LaneLost)
        assert isinstance(run(device, request("other", x=np.ones((1, 4), np.float32))), Completed)
        (back,) = following(device, 1)
        assert back.task == "victim"
        assert isinstance(back, Loaded)
        assert device.lanes()["victim"][1] == death
        assert isinstance(run(device, request("victim", x=x)), Completed)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" + b"\xff" * 100])
def test_a_corrupt_model_is_refused_with_its_name(device, tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    device.load(Task(name="bad", model=str(path)), "cpu")
    (event,) = following(device, 1)
    assert isinstance(event, LoadFailed)
    assert "bad" in str(event.error)


def test_best_effort_threads_obey_the_allowance(device, tmp_path):
    load(device, slow_model(tmp_path), "ocr")
    load(device, scale_model(tmp_path), "det", criticality="critical")
    untouched = _affinities(device.lanes()["det"][0])
    pid = device.lanes()["ocr"][0]
    at_home = _affinities(pid)
    device.limit("cpu", Allowance(1, 1.0))
    assert {len(cores) for cores in _affinities(pid)} == {1}
    assert _affinities(device.lanes()["det"][0]) == untouched
    device.limit("cpu", Allowance(1, 0.05))
    states = set()
    for _ in range(10_000):
        states.add(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0])
        if "T" in states:
            break
    assert "T" in states  # stopped, for a part of the time
    device.limit("cpu", Allowance(2, 1.0))
    assert _affinities(pid) == at_home


def test_every_full_width_lane_has_a_core_for_each_thread(device, tmp_path):
    model = slow_model(tmp_path)
    load(device, model, "det", criticality="critical")
    load(device, model, "ocr")
    load(device, model, "tags")
    load(device, model, "narrow", width=1)
    first = {name: os.sched_getaffinity(pid) for name, (pid, _) in device.lanes().items()}
    assert first["det"] == {0}  # with the front
    assert first["ocr"] == {1}
    assert first["tags"] == {0}  # two that run together do not begin on the same one
    for name in ("det", "ocr", "tags"):
        working = [cores for cores in _affinities(device.lanes()[name][0]) if len(cores) == 1]
        assert set.union(*working) == {0, 1}
    assert set().union(*_affinities(device.lanes()["narrow"][0])) == {0, 1}
    done = run(device, request("ocr", x=np.ones((1, 1000), np.float32)))
    assert isinstance(done, Completed)


def test_classes_follow_criticality_where_the_privileges_allow(device, tmp_path):
    load(device, slow_model(tmp_path), "ocr")
    load(device, slow_model(tmp_path), "det", criticality="critical", priority=3)
    if best_rung().value == "gated":
        pytest.skip("this machine has no scheduling classes to look at")
    best_effort, critical = _classes(device, "ocr"), _classes(device, "det")
    assert best_effort.count((os.SCHED_IDLE, 0)) >= 2
    if best_rung().value == "fifo+idle":
        assert critical.count((os.SCHED_FIFO, 12)) == 2  # the two that compute; one more idles


def test_nothing_stays_behind(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    device = CpuDevice({"cpu": (0, 1)}, lambda task: ModelFiles((task.model,)), best_rung())
    load(device, scale_model(tmp_path))
    pid, _ = device.lanes()["t"]
    descriptor = os.pidfd_open(pid)
    device.close()
    assert select.select([descriptor], [], [], 10)[0], "the interpreter still runs"
    os.close(descriptor)
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_lane_that_starts_while_the_device_closes_is_ended(tmp_path, monkeypatch):
    model = scale_model(tmp_path)
    found, closed = threading.Event(), threading.Event()
    ended: list[int] = []

    class Late(Lane):
        """A lane that has just started when the device has just been closed."""

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            found.set()
            closed.wait(30)

        def close(self) -> None:
            super().close()
            ended.append(self.pid)

    monkeypatch.setattr("cotenant.device.cpu.device.Lane", Late)
    device = CpuDevice({"cpu": (0, 1)}, lambda task: ModelFiles((task.model,)), best_rung())
    threads = set(threading.enumerate())
    device.load(Task(name="t", model=str(model)), "cpu")
    (starting,) = set(threading.enumerate()) - threads
    assert found.wait(30)
    device.close()
    closed.set()
    starting.join(30)
    assert len(ended) == 1


def test_a_thread_that_began_while_its_lane_was_narrow_is_widened_with_it():
    child = (
        "import sys, threading, time\nprint(flush=True)\nsys.stdin.readline()\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nprint(flush=True)\n"
        "sys.stdin.readline()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", child], stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        os.sched_setaffinity(process.pid, {0})  # as the interpreter places its first thread
        lane = Lane.__new__(Lane)
        lane._apart = SimpleNamespace(pid=process.pid)
        lane._homes = {}
        lane.role = SimpleNamespace(cores=(0, 1))
        lane.confine((0, 1))
        lane.confine((1,))
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert _affinities(process.pid) == [{1}, {1}]
        lane.confine((0, 1))
        assert _affinities(process.pid) == [{0}, {0, 1}]
        process.stdin.close()


def _classes(device: CpuDevice, task: str) -> list[tuple[int, int]]:
    threads = map(int, os.listdir(f"/proc/{device.lanes()[task][0]}/task"))
    return [(os.sched_getscheduler(t), os.sched_getparam(t).sched_priority) for t in threads]


def _affinities(pid: int) -> list[set[int]]:
    return [os.sched_getaffinity(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")]
