"""One component of a running machine: what runs on it and what it was told; views come out."""

from cotenant.core.hardware import Component
from cotenant.device.base import Allowance
from cotenant.policy.base import ComponentView, Running
from cotenant.runtime.tenant import Flight, Tenant


class Place:
    """The coordinator's own state of a component; nobody else changes it."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self.width = component.width
        self.allowance = self.limit = Allowance(component.width, 1.0)
        self.held = False
        """Best-effort work may not use everything here."""
        self.running: dict[str, Running] = {}
        self._best_effort_start_s = 0.0
        self._view: ComponentView | None = None
        """What policies see; `None` when something that it shows has changed."""

    def start(self, tenant: Tenant, flight: Flight, now_s: float) -> None:
        self.running[tenant.name] = Running(
            tenant.name,
            tenant.critical,
            tenant.priority,
            tenant.width,
            len(flight.requests),
            now_s,
        )
        if not tenant.critical:
            self._best_effort_start_s = now_s
        self._view = None

    def end(self, task: str) -> None:
        self.running.pop(task, None)
        self._view = None

    def hold(self, limit: Allowance) -> None:
        self.limit = limit
        self.held = limit.width < self.width or limit.duty < 1.0
        self._view = None

    @property
    def pressed(self) -> bool:
        """Critical work has all of it."""
        critical = [one.width for one in self.running.values() if one.critical]
        return sum(critical) >= self.width

    def allow(self, allowance: Allowance) -> None:
        if allowance != self.allowance:
            self.allowance = allowance
            self._view = None

    def view(self) -> ComponentView:
        if self._view is None:
            self._view = ComponentView(
                self.component,
                tuple(self.running.values()),
                self._best_effort_start_s,
                self.allowance,
                self.limit,
            )
        return self._view
