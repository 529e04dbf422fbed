"""Every rung of protection on the real device: what the lanes' threads get, and that it serves."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from cotenant.cli.devices import devices
from cotenant.core.errors import WorkloadError
from cotenant.core.hardware import Capability, allowed_cores
from cotenant.core.model import ModelFiles
from cotenant.core.record import Record
from cotenant.core.task import Queue, Task
from cotenant.core.workload import Workload
from cotenant.device.base import Completed
from cotenant.device.cpu.device import CpuDevice
from cotenant.device.cpu.scheduling import MAX_RUNG, Rung, Standing, standing, throttled_s
from cotenant.runtime.live import LiveRuntime
from tests.device.test_cpu import following, load, request, run
from tests.models import scale_model, slow_model
from tests.serving.commanded import ANY_PORTS, running
from tests.serving.served import Wire

X = np.ones((1, 4), np.float32)
_BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
_WITHOUT = ("setpriv", "--bounding-set=-sys_nice")


@pytest.fixture(params=list(Rung))
def rung(request: pytest.FixtureRequest) -> Rung:
    """Each rung in turn, where the privileges allow it."""
    wanted: Rung = request.param
    found = standing(wanted)
    if found.rung is not wanted:
        pytest.skip(f"{wanted} does not work here: the best is {found.offered}")
    return wanted


@pytest.fixture
def device(rung: Rung) -> Iterator[CpuDevice]:
    cores = allowed_cores()
    one = CpuDevice({"cpu": cores}, lambda task: ModelFiles((task.model,)), rung)
    yield one
    one.close()


def _ranks(pid: int) -> set[tuple[int, int, int]]:
    """Scheduling class, its priority and the nice value of every thread."""
    return {
        (
            os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK,
            os.sched_getparam(thread).sched_priority,
            os.getpriority(os.PRIO_PROCESS, thread),
        )
        for thread in map(int, os.listdir(f"/proc/{pid}/task"))
    }


_CRITICAL = {
    Rung.FIFO_IDLE: (os.SCHED_FIFO, 12, 0),
    Rung.NICE_IDLE: (os.SCHED_OTHER, 0, -10),
    Rung.IDLE: (os.SCHED_OTHER, 0, 0),
    Rung.GATED: (os.SCHED_OTHER, 0, 0),
}


def test_threads_are_where_the_rung_says(device: CpuDevice, rung: Rung, tmp_path: Path) -> None:
    load(device, slow_model(tmp_path), "ocr")
    load(device, slow_model(tmp_path), "det", criticality="critical", priority=3)
    nice = os.getpriority(os.PRIO_PROCESS, 0)  # what the tests themselves were started with
    kind, order, value = _CRITICAL[rung]
    value = value if rung is Rung.NICE_IDLE else nice
    assert (kind, order, value) in _ranks(device.lanes()["det"][0] or 0)
    best_effort = os.SCHED_OTHER if rung is Rung.GATED else os.SCHED_IDLE
    assert _ranks(device.lanes()["ocr"][0] or 0) == {(best_effort, 0, nice)}
    gated = device.components[0].capability is Capability.GATED
    assert gated == (rung is Rung.GATED)
    x = np.ones((1, 1000), np.float32)
    for task in ("det", "ocr"):
        assert isinstance(run(device, request(task, x=x)), Completed)


def test_a_lane_that_comes_back_is_where_it_was(
    device: CpuDevice, rung: Rung, tmp_path: Path
) -> None:
    load(device, scale_model(tmp_path), "det", criticality="critical", priority=3)
    pid = device.lanes()["det"][0] or 0
    before = _ranks(pid)
    os.kill(pid, 9)
    following(device, 2)
    assert _ranks(device.lanes()["det"][0] or 0) == before


def test_the_machine_serves_and_gating_keeps_work_apart(rung: Rung, tmp_path: Path) -> None:
    scale, slow = str(scale_model(tmp_path)), str(slow_model(tmp_path, size=300))
    workload = Workload(
        tasks=(
            Task(name="det", model=scale, criticality="critical", queue=Queue(max_size=100)),
            Task(name="ocr", model=slow, queue=Queue(max_size=100)),
            Task(name="scene", model=slow, queue=Queue(max_size=100)),
        )
    )
    slow_x = np.ones((20, 300), np.float32)

    async def main() -> list[Record]:
        machine = LiveRuntime(workload, highest=rung)
        await machine.start()
        try:
            calls = [machine.infer("det", {"x": X}) for _ in range(20)]
            for task in ("ocr", "scene"):
                calls += [machine.infer(task, {"x": slow_x}) for _ in range(20)]
            answers = await asyncio.gather(*calls)
        finally:
            await machine.close()
        assert [answer.error for answer in answers] == [None] * 60
        return [answer.record for answer in answers]

    spans = sorted(span for record in asyncio.run(main()) for span in record.segments)
    assert len(spans) == 60
    if rung is Rung.GATED:
        # Nothing but the coordinator protects critical work here: one launch at a time.
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def _workload(folder: Path) -> str:
    model = str(scale_model(folder))
    tasks = [
        {"name": "det", "model": model, "criticality": "critical"},
        {"name": "ocr", "model": model},
    ]
    path = folder / "workload.yaml"
    path.write_text(yaml.safe_dump({"tasks": tasks}), encoding="utf-8")
    return str(path)


def _asked(port: int) -> None:
    with Wire(port) as wire:
        for task in ("det", "ocr"):
            reply = wire.ask("POST", f"/v2/models/{task}/infer", _BODY)
            assert reply.json["outputs"][0]["data"] == [2.0, 4.0, 6.0, 8.0]


def test_the_front_of_a_server_stands_above_its_lanes(rung: Rung, tmp_path: Path) -> None:
    arguments = (_workload(tmp_path), "--max-rung", rung, *ANY_PORTS)
    with running(*arguments) as (command, http, _):
        kind = os.sched_getscheduler(command.pid)
        assert (kind == os.SCHED_FIFO) == (rung is Rung.FIFO_IDLE)
        raised = os.getpriority(os.PRIO_PROCESS, command.pid) < _CRITICAL[Rung.NICE_IDLE][2]
        assert raised == (rung is Rung.NICE_IDLE)
        _asked(http)


def _without_the_capability(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_WITHOUT, sys.executable, "-m", "cotenant", *command],
        capture_output=True,
        text=True,
        check=True,
        env={key: value for key, value in os.environ.items() if key != MAX_RUNG},
    )


@pytest.fixture
def _droppable() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can drop a capability from what it starts")
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv here")


@pytest.mark.usefixtures("_droppable")
def test_without_the_capability_it_is_told_what_to_grant() -> None:
    answer = json.loads(_without_the_capability("devices", "--json").stdout)
    assert (answer["rung"], answer["offered"]) == ("idle", "idle")
    assert "CAP_SYS_NICE" in answer["shortfall"]
    shown = _without_the_capability("devices").stdout
    assert "SCHED_FIFO was refused" in shown
    assert "capped" not in shown


@pytest.mark.usefixtures("_droppable")
def test_a_server_without_the_capability_serves_on_a_lower_rung(tmp_path: Path) -> None:
    with running(_workload(tmp_path), *ANY_PORTS, before=_WITHOUT) as (command, http, _):
        _asked(http)
        with Wire(http) as wire:
            lanes = wire.ask("GET", "/v2/cotenant/lanes").json["lanes"]
        kinds = {lane["task"]: {rank[0] for rank in _ranks(lane["pid"])} for lane in lanes}
        assert kinds == {"det": {os.SCHED_OTHER}, "ocr": {os.SCHED_IDLE}}
        assert os.sched_getscheduler(command.pid) == os.SCHED_OTHER


def test_a_cap_is_shown_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MAX_RUNG, raising=False)
    best = standing()
    assert best.rung is best.offered
    capped = standing(Rung.GATED)
    assert (capped.rung, capped.offered) == (Rung.GATED, best.offered)
    for arguments, environment in (((), {MAX_RUNG: "gated"}), (("--max-rung", "gated"), {})):
        shown = CliRunner().invoke(devices, arguments, env=environment).output
        assert "rung       gated" in shown
        assert f"without it this machine gives {best.offered}" in shown
        assert "; gated" in shown
    monkeypatch.setenv(MAX_RUNG, "gated")
    assert standing() == capped
    monkeypatch.setenv(MAX_RUNG, "fifo")
    with pytest.raises(WorkloadError, match=r"'fifo'.*fifo\+idle, nice\+idle, idle, gated"):
        standing()


@pytest.mark.parametrize(
    ("runtime", "period", "stopped_s"),
    [("950000", "1000000", 0.05), ("-1", "1000000", 0.0), ("1000000", "1000000", 0.0)],
)
def test_how_long_real_time_work_is_stopped_is_read_from_the_system(
    tmp_path, runtime, period, stopped_s
):
    assert throttled_s(tmp_path) == 0.0  # another operating system
    (tmp_path / "sched_rt_runtime_us").write_text(runtime + "\n")
    (tmp_path / "sched_rt_period_us").write_text(period + "\n")
    assert throttled_s(tmp_path) == pytest.approx(stopped_s)


def test_devices_says_what_lifts_the_limit_of_real_time_work(monkeypatch):
    monkeypatch.setattr("cotenant.cli.devices.throttled_s", lambda: 0.05)
    monkeypatch.setattr(
        "cotenant.cli.devices.standing", lambda highest: Standing(Rung.FIFO_IDLE, Rung.FIFO_IDLE)
    )
    shown = CliRunner().invoke(devices, []).stdout
    assert "50 ms of each second" in shown
    assert "kernel.sched_rt_runtime_us=-1" in shown
    lower = Standing(Rung.NICE_IDLE, Rung.NICE_IDLE)
    monkeypatch.setattr("cotenant.cli.devices.standing", lambda highest: lower)
    assert "sched_rt_runtime_us" not in CliRunner().invoke(devices, []).stdout
