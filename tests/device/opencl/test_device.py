"""The OpenCL device with real interpreters: numbers under pauses, deaths, hangs, and refusals."""

import json
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotenant.bench.cores import confined
from cotenant.core.errors import CotenantError, DeviceError, InvalidRequest, LaneLost
from cotenant.core.hardware import allowed_cores
from cotenant.core.model import ModelFiles
from cotenant.core.task import Task
from cotenant.device.base import (
    Allowance,
    Completed,
    Failed,
    Loaded,
    LoadFailed,
)
from cotenant.device.bundle import MANIFEST, seal
from cotenant.device.cpu.device import CpuDevice
from cotenant.device.cpu.scheduling import best_rung
from cotenant.device.elastic.device import ElasticDevice
from cotenant.device.elastic.find import find_devices
from cotenant.device.opencl.kind import OPENCL
from cotenant.device.several import Several
from cotenant.device.sharing import Sharing
from tests.device.elastic.events import following, launch, load, output, random_words
from tests.device.elastic.programs import (
    bundled,
    endless_program,
    huge_program,
    spin_program,
    spun,
)
from tests.device.elastic.rules import Motley, Pausing, Plain
from tests.models import scale_model

Opened = Callable[[Sharing], ElasticDevice]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def opened(place: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Opens devices, closes them; their interpreters find the rules of the tests."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    devices: list[ElasticDevice] = []

    def make(rule: Sharing) -> ElasticDevice:
        devices.append(ElasticDevice(OPENCL, {"gpu0": 0}, rule, best_rung()))
        return devices[-1]

    yield make
    for device in devices:
        device.close()


@pytest.mark.parametrize("rule", [Plain(), Pausing(), Pausing(5, 3), Motley()])
def test_results_are_right_however_often_critical_work_comes_between(
    rule: Sharing, opened: Opened, tmp_path: Path
) -> None:
    device = opened(rule)
    program = spin_program(steps=4, tiles=61, spins=40_000)
    short = spin_program(steps=1, tiles=3, spins=500)
    loaded = load(device, bundled(program, tmp_path, "long"), "be")
    assert isinstance(loaded, Loaded), loaded
    assert loaded.signature is not None
    assert [tuple(spec) for spec in loaded.signature.inputs] == [("x", "uint32", (244,))]
    load(device, bundled(short, tmp_path, "short"), "crit", criticality="critical")
    for seed in range(3):
        x, y = random_words(244, seed), random_words(12, seed)
        launch(device, "be", x)
        waiting = True
        while waiting:
            launch(device, "crit", y)
            answered = False
            while not answered:
                for event in following(device, 1):
                    if event.task == "crit":
                        answered = True
                        np.testing.assert_array_equal(output(event), spun(y, 500))
                    else:
                        waiting = False
                        np.testing.assert_array_equal(output(event), spun(x, 160_000))
    pauses_s = device.pauses_s()["gpu0"]
    # How often one came between is up to the machine; `test_sides` pauses at an exact tile.
    assert rule.pauses or not pauses_s
    assert all(pause_s >= 0.0 for pause_s in pauses_s)


def test_the_guards_allowance_slows_best_effort_work_and_changes_no_result(
    opened: Opened, tmp_path: Path
) -> None:
    device = opened(Pausing())
    load(device, bundled(spin_program(spins=2000), tmp_path, "b"), "be")
    x = random_words(256, 1)
    for allowance in (Allowance(1, 1.0), Allowance(1, 0.25)):
        device.limit("gpu0", allowance)
        launch(device, "be", x)
        (event,) = following(device, 1)
        np.testing.assert_array_equal(output(event), spun(x, 6000))
    assert isinstance(event, Completed)
    # It idled three times as long as it ran, which is not counted as service.
    assert event.busy_s < event.end_s - event.start_s


def test_an_interpreter_that_is_killed_takes_nothing_else_down(
    opened: Opened, tmp_path: Path
) -> None:
    opencl = opened(Pausing())
    cpu = CpuDevice({"cpu": (0, 1)}, lambda task: ModelFiles((task.model,)), best_rung())
    device = Several(opencl, cpu)
    try:
        assert [one.name for one in device.components] == ["gpu0", "cpu"]
        long = bundled(spin_program(spins=200_000), tmp_path, "long")
        short = bundled(spin_program(steps=1, spins=10), tmp_path, "short")
        load(device, long, "be")
        load(device, short, "crit", criticality="critical")
        load(device, scale_model(tmp_path, 3.0), "onnx", component="cpu")
        before = device.lanes()
        launch(device, "be", random_words(256, 0))
        pid = before["be"][0]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        events = following(device, 4)
        lost, back = events[:2], events[2:]
        assert {event.task for event in lost} == {"be", "crit"}
        for event in lost:
            assert isinstance(event, Failed)
            assert event.lane_lost
            assert isinstance(event.error, LaneLost)
            assert "'gpu0'" in str(event.error)
        assert {type(event) for event in back} == {Loaded}
        after = device.lanes()
        assert after["onnx"] == before["onnx"]
        assert after["be"][0] != pid
        assert (after["be"][1], after["crit"][1]) == (1, 1)
        x = random_words(256, 2)
        launch(device, "crit", x)
        np.testing.assert_array_equal(output(following(device, 1)[0]), spun(x, 10))
        launch(device, "onnx", np.ones((1, 4), np.float32))
        np.testing.assert_array_equal(output(following(device, 1)[0]), np.full((1, 4), 3.0))
    finally:
        cpu.close()


@pytest.mark.parametrize("criticality", ["critical", "best-effort"])
def test_a_kernel_that_hangs_is_named_and_ended_and_given_up_the_second_time(
    criticality: str, opened: Opened, tmp_path: Path
) -> None:
    device = opened(Plain())
    good = bundled(spin_program(steps=1, spins=10), tmp_path, "good")
    load(device, bundled(endless_program(), tmp_path, "bad"), "bad", criticality=criticality)
    load(device, good, "good", criticality="critical")
    launch(device, "bad", np.full(4, 7, np.uint32))
    np.testing.assert_array_equal(output(following(device, 1)[0]), np.full(4, 7))
    for remains in (["bad", "good"], ["good"]):
        launch(device, "bad", np.full(4, 1, np.uint32))
        events = following(device, 4)
        lost = {event.task: event.error for event in events if isinstance(event, Failed)}
        assert set(lost) == {"bad", "good"}
        assert "kernel 'endless' of task 'bad' did not end" in str(lost["bad"])
        assert sorted(one.task for one in events if isinstance(one, Loaded)) == remains
        given_up = [one for one in events if isinstance(one, LoadFailed)]
        assert [one.task for one in given_up] == (["bad"] if remains == ["good"] else [])
    assert "not loaded again" in str(given_up[0].error)
    x = random_words(256, 3)
    launch(device, "good", x)
    np.testing.assert_array_equal(output(following(device, 1)[0]), spun(x, 10))


def test_what_does_not_fit_is_refused_and_the_others_stay_up(
    opened: Opened, tmp_path: Path
) -> None:
    device = opened(Plain())
    short = bundled(spin_program(steps=1, spins=10), tmp_path, "short")
    load(device, short, "crit", criticality="critical")
    refused = load(device, bundled(huge_program(), tmp_path, "huge"), "huge")
    assert isinstance(refused, LoadFailed)
    assert "needs 70368744178" in str(refused.error)
    assert "unload another task" in str(refused.error)
    x = random_words(256, 4)
    launch(device, "crit", x)
    np.testing.assert_array_equal(output(following(device, 1)[0]), spun(x, 10))
    assert device.lanes()["crit"][1] == 0
    device.unload("huge")
    device.unload("crit")
    reloaded = load(device, short, "crit")
    assert isinstance(reloaded, Loaded)


def test_a_kernel_whose_elastic_forms_do_not_build_runs_plain_and_the_log_says_why(
    opened: Opened, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = bundled(spin_program(spins=5), tmp_path, "broken")
    edit_source(folder, "spin_tile(", "spin_tile(no_such_type")
    with caplog.at_level(logging.WARNING, "cotenant"):
        loaded = load(opened(Pausing()), folder, "be")
    assert isinstance(loaded, Loaded), loaded
    assert "kernel 'spin' cannot pause here" in caplog.text
    assert "no_such_type" in caplog.text


def test_a_kernel_that_does_not_build_at_all_is_refused_with_the_log(
    opened: Opened, tmp_path: Path
) -> None:
    folder = bundled(spin_program(), tmp_path, "broken")
    edit_source(folder, "uint v = ", "no_such_type v = ")
    refused = load(opened(Pausing()), folder, "be")
    assert isinstance(refused, LoadFailed)
    assert "does not build" in str(refused.error)
    assert "no_such_type" in str(refused.error)


def edit_source(folder: Path, old: str, new: str) -> None:
    """A bundle whose kernel this device's compiler refuses; its hashes are right."""
    import hashlib  # noqa: PLC0415

    path = folder / MANIFEST
    noted = json.loads(path.read_text())
    del noted["sha256"]
    (source,) = {one["source"] for one in noted["kernels"].values()}
    text = (folder / source).read_text()
    assert old in text
    (folder / source).write_text(text.replace(old, new))
    noted["files"][source] = hashlib.sha256((folder / source).read_bytes()).hexdigest()
    path.write_text(seal(noted))


def test_wrong_inputs_are_the_requests_fault(opened: Opened, tmp_path: Path) -> None:
    device = opened(Plain())
    for name, criticality in (("a", "critical"), ("b", "best-effort")):
        load(device, bundled(spin_program(), tmp_path, name), name, criticality=criticality)
        launch(device, name, np.zeros(3, np.uint32))
        (event,) = following(device, 1)
        assert isinstance(event, Failed)
        assert isinstance(event.error, InvalidRequest)
        assert not event.lane_lost
        x = random_words(256, 5)
        launch(device, name, x)
        np.testing.assert_array_equal(output(following(device, 1)[0]), spun(x, 60_000))


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"model": "zoo:squeezenet"}, "cotenant compile zoo:squeezenet --target opencl"),
        ({"model": "models/a.onnx"}, "cotenant compile models/a.onnx --target opencl"),
        ({"model": "nowhere"}, "name the folder that 'cotenant compile' wrote"),
        ({"model": "nowhere", "segments": 2}, "leave segments out"),
    ],
)
def test_what_is_no_bundle(about: dict[str, Any], says: str, opened: Opened) -> None:
    device = opened(Plain())
    device.load(Task(name="t", **about), "gpu0")
    (event,) = following(device, 1)
    assert isinstance(event, LoadFailed)
    assert says in str(event.error)


def test_a_device_that_is_not_there(place: Any) -> None:
    with pytest.raises(DeviceError, match=r"OpenCL device 99; there is 0 \("):
        ElasticDevice(OPENCL, {"gpu9": 99}, Plain(), best_rung())


def test_a_processor_is_as_wide_as_what_this_process_may_use_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for told in ("POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT"):
        monkeypatch.delenv(told, raising=False)  # by a device that this process has opened
    with confined(allowed_cores()[:1]):
        found = find_devices(OPENCL)
    assert {one.units for one in found if one.name.startswith("Portable")} <= {1}


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CotenantError, match=r"pip install 'cotenant\[opencl\]'"):
        find_devices(OPENCL)
