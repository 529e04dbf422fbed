"""The front's end of one lane: starts its interpreter, sends launches, reads what comes back."""

import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from cotenant.core.errors import CotenantError, ExecutionError, InvalidRequest
from cotenant.core.model import ModelFiles
from cotenant.core.request import Request, Tensors
from cotenant.device.arena import Arena, Place
from cotenant.device.batch import divided
from cotenant.device.cpu.apart import Apart
from cotenant.device.cpu.scheduling import Rung


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
        self._homes: dict[int, set[int]] = {}
        """The cores of each thread, as the interpreter had placed them before it was confined."""
        self._apart = Apart(
            "cotenant.device.cpu.start",
            str(self._arena.fd),
            role.kind,
            role.rung,
            keep=(self._arena.fd,),
        )
        self._apart.send({"load": {**files._asdict(), **role._asdict()}})

    @property
    def pid(self) -> int:
        return self._apart.pid

    @property
    def channel(self) -> socket.socket:
        """Readable whenever `receive` has something."""
        return self._apart.channel

    def launch(self, requests: Sequence[Request], segment: int) -> None:
        """Begin one segment of a batch."""
        if segment == 0:
            inputs = [request.inputs or {} for request in requests]
            self._places = self._arena.write(
                {name: [tensors[name] for tensors in inputs] for name in inputs[0]}
            )
        self._apart.send({"run": self._places, "segment": segment})

    def receive(self) -> dict[str, Any] | None:
        """The next message; `None` once the interpreter is gone.

        Raises:
            BlockingIOError: nothing has arrived.
        """
        return self._apart.receive()

    def outputs(self, places: Sequence[Place], requests: Sequence[Request]) -> list[Tensors]:
        """Copies of the outputs, one mapping for each request of the batch.

        Raises:
            ExecutionError: the outputs cannot be divided among the requests.
        """
        return divided(self._arena.read(places), requests)

    def signal(self, number: int) -> None:
        """Send a signal to the interpreter, and never to a stranger with a recycled number."""
        self._apart.signal(number)

    def confine(self, cores: Sequence[int]) -> None:
        """Keep all threads of the interpreter on these cores.

        A thread that has a core of its own stays there, or comes back to it, when that is one.
        """
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            threads = [int(name) for name in os.listdir(f"/proc/{self.pid}/task")]
            if not self._homes:
                self._homes = {thread: os.sched_getaffinity(thread) for thread in threads}
            for thread in threads:
                # One that began later has inherited whatever its parent was confined to.
                home = self._homes.get(thread, set(self.role.cores))
                os.sched_setaffinity(thread, home.intersection(cores) or cores)

    def close(self) -> None:
        """End the interpreter, whatever it is doing, and let go of the shared memory."""
        self._apart.close()
        self._arena.close()


def failure(message: dict[str, Any], task: str) -> CotenantError:
    """The error behind a message that is not 'done'."""
    if "invalid" in message:
        return InvalidRequest(f"task {task!r} cannot run these inputs: {message['invalid']}")
    return ExecutionError(f"task {task!r} failed: {message['failed']}")
