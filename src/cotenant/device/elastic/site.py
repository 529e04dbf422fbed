"""Components and tasks go in; what is kept while their interpreters come and go comes out."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cotenant.core.hardware import Component
from cotenant.core.request import Request
from cotenant.core.task import Periodic, Task
from cotenant.device.arena import Arena, Place
from cotenant.device.base import Allowance
from cotenant.device.batch import divided
from cotenant.device.cpu.apart import Apart

_PAUSES = 4096
"""How many of the last pauses are kept for whoever asks."""


class Site:
    """One component and the interpreter that holds it now."""

    def __init__(self, component: Component, number: int) -> None:
        self.component = component
        self.number = number
        self.allowance = Allowance(component.width, 1.0)
        self.tenancies: dict[str, Tenancy] = {}
        """Those to load again after a restart."""
        self.pauses_s: deque[float] = deque(maxlen=_PAUSES)
        self.apart: Apart | None = None
        self.starting = False
        self.opened = False
        self.deaths = 0


class Tenancy:
    """One task's place on a component, whichever interpreter serves it now."""

    def __init__(self, task: Task, site: Site) -> None:
        self.task = task
        self.site = site
        self.arena: Arena | None = None
        self.requests: tuple[Request, ...] = ()
        self.loaded = False
        self.restarts = 0
        self.hangs = 0
        self.seat = 0
        """Number of its last load; they start from 1."""

    def load(self, apart: Apart, seat: int) -> None:
        """In new memory: what is left of an interpreter that died must not write into it."""
        self.close()
        self.seat, self.arena = seat, Arena.create()
        arrivals = self.task.arrivals
        order = {
            "seat": seat,
            "task": self.task.name,
            "bundle": str(Path(self.task.model).expanduser()),
            "critical": self.task.critical,
            "period_s": 1.0 / arrivals.rate_rps if isinstance(arrivals, Periodic) else None,
        }
        apart.send({"load": order}, [self.arena.fd])

    def outputs(self, places: Sequence[Place]) -> list[Any]:
        """Of each request of the launch in flight."""
        return [] if self.arena is None else divided(self.arena.read(places), self.requests)

    def close(self) -> None:
        if self.arena is not None:
            self.arena.close()
            self.arena = None
