"""The interpreter of a critical task dies under load: who is told, who waits, who notices."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import yaml

from tests.models import scale_model
from tests.serving.commanded import ANY_PORTS, running
from tests.serving.served import Wire

_BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
_DOUBLED = [2.0, 4.0, 6.0, 8.0]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real server: two critical tasks that fit beside each other, one best-effort task."""
    folder = tmp_path_factory.mktemp("deaths")
    model = str(scale_model(folder))
    tasks = [
        {"name": "det", "model": model, "criticality": "critical", "width": 1},
        {"name": "lamp", "model": model, "criticality": "critical", "width": 1, "priority": 2},
        {"name": "ocr", "model": model},
    ]
    workload = folder / "workload.yaml"
    workload.write_text(yaml.safe_dump({"tasks": tasks}), encoding="utf-8")
    with running(str(workload), *ANY_PORTS) as (_, http, _):
        yield http


def _request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _infer(task: str) -> bytes:
    return _request("POST", f"/v2/models/{task}/infer", _BODY)


def _lane(wire: Wire, task: str) -> dict[str, Any]:
    lanes = wire.ask("GET", "/v2/cotenant/lanes").json["lanes"]
    (lane,) = [one for one in lanes if one["task"] == task]
    return dict(lane)


class _Load:
    """A client that asks one task again and again, until it is told to stop."""

    def __init__(self, port: int, task: str) -> None:
        self.statuses: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(port, task))
        self._thread.start()

    def _ask(self, port: int, task: str) -> None:
        with Wire(port) as wire:
            while not self._stop.is_set():
                wire.send(_infer(task))
                self.statuses.append(wire.reply().status)

    def end(self) -> list[int]:
        self._stop.set()
        self._thread.join()
        return self.statuses


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_only_the_request_in_flight_is_lost(port: int, number: signal.Signals) -> None:
    with Wire(port) as first, Wire(port) as facts:
        waiting = [Wire(port) for _ in range(3)]
        before = {task: _lane(facts, task) for task in ("det", "lamp", "ocr")}
        others = [_Load(port, task) for task in ("lamp", "ocr")]
        try:
            pid = before["det"]["pid"]
            os.kill(pid, signal.SIGSTOP)  # so that what is asked now is in flight when it dies
            # The facts stand behind the inference on one connection: they are asked for at
            # the very moment at which it was answered.
            first.send(
                _infer("det")
                + _request("GET", "/v2/models/det/ready")
                + _request("GET", "/v2/health/ready")
                + _request("GET", "/v2/models/lamp/ready")
                + _request("GET", "/v2/cotenant/lanes")
            )
            for wire in waiting:
                wire.send(_infer("det"))
            while _lane(facts, "det")["queued"] < 3:
                pass
            os.kill(pid, number)
            with suppress(ProcessLookupError):  # SIGKILL does not wait, and the server may have it
                os.kill(pid, signal.SIGCONT)
            lost = first.reply()
            assert lost.status == 500
            assert "'det': its interpreter died" in lost.error
            assert [first.reply().status for _ in range(3)] == [503, 503, 200]
            lanes = {lane["task"]: lane for lane in first.reply().json["lanes"]}
            assert (lanes["det"]["state"], lanes["det"]["queued"]) == ("restarting", 3)
            assert "its interpreter died" in lanes["det"]["reason"]
            for wire in waiting:
                reply = wire.reply()
                assert (reply.status, reply.json["outputs"][0]["data"]) == (200, _DOUBLED)
            assert facts.ask("GET", "/v2/models/det/ready").status == 200
            assert facts.ask("GET", "/v2/health/ready").status == 200
        finally:
            served = [load.end() for load in others]
            for wire in waiting:
                wire.socket.close()
        for statuses in served:
            assert set(statuses) == {200}
        after = {task: _lane(facts, task) for task in before}
        for task in ("lamp", "ocr"):
            assert (after[task]["pid"], after[task]["restarts"]) == (before[task]["pid"], 0)
        assert after["det"]["pid"] != pid
        assert after["det"]["restarts"] == before["det"]["restarts"] + 1
        assert after["det"]["reason"] == ""
