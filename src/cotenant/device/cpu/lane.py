"""The front's end of one lane: starts its interpreter, sends launches, reads what comes back."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from cotenant.core.errors import CotenantError, ExecutionError, InvalidRequest
from cotenant.core.model import ModelFiles
from cotenant.core.request import Request, Tensors
from cotenant.device.arena import MESSAGE_BYTES, Arena, Place
from cotenant.device.cpu.scheduling import Rung, enter_ordinary


class Role(NamedTuple):
    """How an interpreter takes part: told once, at its start."""

    kind: str
    """'critical', 'best-effort' or 'ordinary'."""
    order: int
    """The task's priority."""
    rung: Rung
    cores: tuple[int, ...]
    width: int
    """Threads; 0 leaves the number to ONNX Runtime."""
    spinning: str


class Lane:
    """One task's interpreter; at most one launch is in flight."""

    def __init__(self, files: ModelFiles, role: Role) -> None:
        """Start the interpreter and have it load; blocks for some milliseconds, not for the load.

        Call it from a thread of its own, whose children start in the ordinary class.
        """
        self.role = role
        self._arena = Arena.create()
        self._places: list[Place] = []
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._interpreter = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "cotenant.device.cpu.start",
                    str(theirs.fileno()),
                    str(self._arena.fd),
                    role.kind,
                    role.rung,
                ],
                pass_fds=(theirs.fileno(), self._arena.fd),
                stdin=subprocess.DEVNULL,
                # numpy's own threads would have nothing to do there.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self._pidfd = os.pidfd_open(self._interpreter.pid)
        self._send({"load": {**files._asdict(), **role._asdict()}})
        self.channel.setblocking(False)

    @property
    def pid(self) -> int:
        return self._interpreter.pid

    def launch(self, requests: Sequence[Request], segment: int) -> None:
        """Begin one segment of a batch."""
        if segment == 0:
            inputs = [request.inputs or {} for request in requests]
            self._places = self._arena.write(
                {name: [tensors[name] for tensors in inputs] for name in inputs[0]}
            )
        self._send({"run": self._places, "segment": segment})

    def receive(self) -> dict[str, Any] | None:
        """The next message; `None` once the interpreter is gone.

        Raises:
            BlockingIOError: nothing has arrived.
        """
        try:
            message = self.channel.recv(MESSAGE_BYTES)
        except ConnectionError:
            return None
        return orjson.loads(message) if message else None

    def outputs(self, places: Sequence[Place], requests: Sequence[Request]) -> list[Tensors]:
        """Copies of the outputs, one mapping for each request of the batch.

        Raises:
            ExecutionError: the outputs cannot be divided among the requests.
        """
        whole = self._arena.read(places)
        if len(requests) == 1:
            return [{name: array.copy() for name, array in whole.items()}]
        ends = np.cumsum([request.rows for request in requests])
        for name, array in whole.items():
            if array.ndim == 0 or array.shape[0] != ends[-1]:
                raise ExecutionError(
                    f"output {name!r} has shape {array.shape} for a batch of {ends[-1]} rows; "
                    "the model does not batch along axis 0: set batch.max_size to 1"
                )
        return [
            {name: array[end - request.rows : end].copy() for name, array in whole.items()}
            for request, end in zip(requests, ends, strict=True)
        ]

    def signal(self, number: int) -> None:
        """Send a signal to the interpreter, and never to a stranger with a recycled number."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def confine(self, cores: Sequence[int]) -> None:
        """Move all threads of the interpreter to these cores."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                os.sched_setaffinity(int(thread), cores)

    def close(self) -> None:
        """End the interpreter, whatever it is doing, and let go of the shared memory."""
        self.signal(signal.SIGKILL)
        self.channel.close()
        threading.Thread(target=self._reap, daemon=True).start()
        os.close(self._pidfd)
        self._arena.close()

    def _reap(self) -> None:
        # While somebody looks at the dead under /proc, the kernel spins here until he is done;
        # above him, on his core, it would spin for ever (seen: 0.8 s, until it was throttled).
        enter_ordinary()
        self._interpreter.wait()

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):  # its death is noticed where we receive
            self.channel.send(orjson.dumps(message))


def failure(message: dict[str, Any], task: str) -> CotenantError:
    """The error behind a message that is not 'done'."""
    if "invalid" in message:
        return InvalidRequest(f"task {task!r} cannot run these inputs: {message['invalid']}")
    return ExecutionError(f"task {task!r} failed: {message['failed']}")
