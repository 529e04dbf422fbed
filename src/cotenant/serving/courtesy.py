"""Paths of requests go in; whether their bodies can wait until critical work has ended comes out.

Reading a tensor off the network takes processor time, which a flood of best-effort requests
would take from critical work that fills all cores. The bodies stay with their senders until
that work has ended, which is also the first moment at which they could be of use.
"""

import asyncio
from collections.abc import Callable

from cotenant.runtime.base import Runtime

LONGEST_S = 0.05
"""However busy critical work is, nobody's body waits for longer."""


class Courtesy:
    """Best-effort bodies stand back while critical work fills a component."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._held: list[Callable[[], None]] = []
        self._limit: asyncio.TimerHandle | None = None

    def hold(self, task: str, resume: Callable[[], None]) -> bool:
        """Whether to read on later; then `resume` is called, once, when it is time."""
        served = self._runtime.served.get(task)
        if served is None or served.task.critical or not self._runtime.pressed:
            return False
        if not self._held:
            self._limit = asyncio.get_running_loop().call_later(LONGEST_S, self._resume_all)
            self._runtime.when_eased(self._resume_all)
        self._held.append(resume)
        return True

    def _resume_all(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        held, self._held = self._held, []
        for resume in held:
            resume()
