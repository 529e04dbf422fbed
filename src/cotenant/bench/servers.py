"""A workload and a policy go in, a running server in its own interpreters comes out.

Ports are free ones of the loopback; the server's words go to a log file; leaving the
`with` block drains it, and kills what is left of its session if that takes too long.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import ExecutionError
from cotenant.core.task import Trace
from cotenant.core.workload import Workload

SERVE: tuple[str, ...] = (sys.executable, "-m", "cotenant", "serve")
HOST = "127.0.0.1"
_READY_WITHIN_S = 1800.0  # a driver may compile every kernel of six models first
_STOP_WITHIN_S = 15.0
_ASK_EVERY_S = 0.05


class Lane(NamedTuple):
    """What the server says about the interpreter of one task."""

    task: str
    state: str
    pid: int | None
    restarts: int


Pauses = Mapping[str, Sequence[float]]
"""The latest pauses of best-effort work on each elastic component, oldest first."""


def later_pauses(before: Pauses, after: Pauses) -> list[float]:
    """Pauses that came between two looks, as far as the server remembers them.

    >>> later_pauses({"gpu": [3.0, 1.0]}, {"gpu": [1.0, 2.0, 5.0], "npu": [4.0]})
    [2.0, 5.0, 4.0]
    """
    later: list[float] = []
    for component, latest_s in after.items():
        earlier_s = before.get(component, ())
        # Where the memory is full, the oldest have gone to make room for new ones.
        gone = next(
            number
            for number in range(len(earlier_s) + 1)
            if list(earlier_s[number:]) == list(latest_s[: len(earlier_s) - number])
        )
        later.extend(latest_s[len(earlier_s) - gone :])
    return later


def workload_path_of(folder: Path, name: str) -> Path:
    """Where a server's workload is kept, by the workload's name."""
    return folder / f"workload-{name}.yaml"


class Server:
    """One server under one policy."""

    def __init__(
        self,
        workload: Workload,
        policy: str,
        folder: Path,
        program: Sequence[str] = SERVE,
        records: Path | None = None,
    ) -> None:
        """`records`: where the server appends a line for each request, if anywhere."""
        self.policy = policy
        self.port, self.grpc_port, metrics_port = free_ports(3)
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / f"server-{workload.name}-{policy}.log"
        workload_path = workload_path_of(folder, workload.name)
        workload_path.write_text(workload_text(workload), encoding="utf-8")
        with self.log_path.open("wb") as log:
            self._child = subprocess.Popen(
                [
                    *program,
                    str(workload_path),
                    *("--policy", policy, "--host", HOST),
                    *("--http-port", str(self.port)),
                    *("--grpc-port", str(self.grpc_port)),
                    *("--metrics-port", str(metrics_port)),
                    *(() if records is None else ("--records", str(records))),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the bench, which then ends its servers
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_ready(self) -> None:
        """Return when every model has been loaded.

        Raises:
            ExecutionError: when the server ends or takes too long; quotes its last words.
        """
        clock = MonotonicClock()
        give_up_s = clock.now() + _READY_WITHIN_S
        while True:
            try:
                self._child.wait(_ASK_EVERY_S)
            except subprocess.TimeoutExpired:
                pass
            else:
                raise ExecutionError(
                    f"server under policy {self.policy!r} ended with code "
                    f"{self._child.returncode} while starting: {self._last_words()}"
                )
            if self._answers("/v2/health/ready"):
                return
            if clock.now() > give_up_s:
                raise ExecutionError(
                    f"server under policy {self.policy!r} was not ready after "
                    f"{_READY_WITHIN_S:.0f} s: {self._last_words()}"
                )

    def ask(self, path: str) -> Any:
        """GET a JSON document; `None` when the server does not have it."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return json.loads(body) if answer.status == 200 and body else None
        finally:
            connection.close()

    def lanes(self) -> dict[str, Lane]:
        """The lanes by task."""
        answer = self.ask("/v2/cotenant/lanes") or {"lanes": []}
        return {
            one["task"]: Lane(one["task"], one["state"], one["pid"], one["restarts"])
            for one in answer["lanes"]
        }

    def pauses(self) -> Pauses:
        """The latest pauses; none where no component can pause anything."""
        answer = self.ask("/v2/cotenant/lanes") or {}
        return {name: tuple(map(float, each)) for name, each in answer.get("pauses_s", {}).items()}

    def inference_time(self, task: str) -> tuple[int, float] | None:
        """Requests so far and seconds that their launches took, copies in and out included."""
        answer = self.ask(f"/v2/models/{task}/stats")
        try:
            spent = answer["model_stats"][0]["inference_stats"]
            computes = [spent[f"compute_{part}"] for part in ("input", "infer", "output")]
            return int(computes[1]["count"]), sum(int(one["ns"]) for one in computes) * 1e-9
        except (TypeError, KeyError, IndexError, ValueError):
            return None

    def stop(self) -> None:
        """Drain, then end whatever is left of the server's own session."""
        if self._child.poll() is None:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_STOP_WITHIN_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _answers(self, path: str) -> bool:
        try:
            return self.ask(path) is not None
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def _last_words(self) -> str:
        words = self.log_path.read_text(encoding="utf-8", errors="replace").strip()
        return words[-800:] or "it said nothing"


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Inside the block SIGTERM ends the run as Ctrl-C does, so that no server outlives it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def free_ports(number: int) -> list[int]:
    """Ports of the loopback that nobody listens on at this moment, all different."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    try:
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def workload_text(workload: Workload) -> str:
    """The file that says the same."""
    # What the bench leaves out the server fills in; it also must not meet a trace that
    # lies relative to somebody else's folder. It may know what its users would tell it.
    tasks = [
        task.model_dump(
            mode="json",
            by_alias=True,
            exclude_defaults=True,
            exclude={"arrivals"} if isinstance(task.arrivals, Trace) else None,
        )
        | {"model": _absolute(task.model)}
        for task in workload.tasks
    ]
    document = workload.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(document | {"tasks": tasks}, sort_keys=False)


def _absolute(model: str) -> str:
    return model if model.startswith("zoo:") else str(Path(model).absolute())
