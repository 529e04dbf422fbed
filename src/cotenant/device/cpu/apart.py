"""A program of ours goes in; it runs in an interpreter of its own, and its messages come out."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cotenant.device.arena import MESSAGE_BYTES
from cotenant.device.cpu.scheduling import enter_ordinary

_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Memory that a model takes later on, for a larger batch, is held as its first one is
(`huge_pages.py`), unless the user has tuned the C library in another way."""
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy's own would have nothing to do there."""


class Apart:
    """One interpreter, a socket to it, and its end."""

    def __init__(self, module: str, *arguments: str, keep: Sequence[int] = ()) -> None:
        """Start it; blocks for some milliseconds.

        Call it from a thread of its own, whose children start in the ordinary class. The
        program's first argument is its end of the socket; it also gets the descriptors `keep`.
        """
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._interpreter = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
                pass_fds=(theirs.fileno(), *keep),
                stdin=subprocess.DEVNULL,
                env={**_HUGE_PAGES, **os.environ, **_NO_THREADS},
                start_new_session=True,
            )
        self._pidfd = os.pidfd_open(self._interpreter.pid)
        self.channel.setblocking(False)

    @property
    def pid(self) -> int:
        return self._interpreter.pid

    def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        with contextlib.suppress(ConnectionError):  # its death is noticed where we receive
            if descriptors:
                socket.send_fds(self.channel, [orjson.dumps(message)], descriptors)
            else:
                self.channel.send(orjson.dumps(message))

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

    def signal(self, number: int) -> None:
        """Send a signal to the interpreter, and never to a stranger with a recycled number."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        """End the interpreter, whatever it is doing."""
        self.signal(signal.SIGKILL)
        self.channel.close()
        threading.Thread(target=self._reap, daemon=True).start()
        os.close(self._pidfd)

    def _reap(self) -> None:
        # While somebody looks at the dead under /proc, the kernel spins here until he is done;
        # above him, on his core, it would spin for ever (seen: 0.8 s, until it was throttled).
        enter_ordinary()
        self._interpreter.wait()
