"""The `cotenant serve` command, as an operating system runs it: arguments in, a server out."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.serving.served import TIMEOUT_S

ANY_PORTS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")


def command_of(*arguments: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Started; `before` stands in front of the interpreter's own command line."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "cotenant", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


@contextlib.contextmanager
def running(
    *arguments: str, before: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A ready server with its REST and gRPC ports; killed if a test leaves it running."""
    command = command_of(*arguments, before=before)
    try:
        assert command.stdout is not None
        assert command.stderr is not None
        lines = []
        while not any(line.strip().startswith("best-effort") for line in lines):
            line = command.stdout.readline()
            assert line, command.stderr.read()
            lines.append(line)
        ports = re.findall(r"127\.0\.0\.1:(\d+)", "".join(lines))
        yield command, int(ports[0]), int(ports[1])
    finally:
        command.kill()
        command.communicate(timeout=TIMEOUT_S)


def ended(pid: int) -> bool:
    """Whether a process is gone, or dead and waits for its parent to take note."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"
