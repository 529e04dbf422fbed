"""A best-effort task that was idle comes in; how far it is ahead of the others comes out."""

from collections.abc import Iterable

from cotenant.runtime.tenant import Tenant

_CREDIT_S = 0.25
"""Service that a task may catch up on after it was idle; more would starve the others."""


def rejoin(tenant: Tenant, tenants: Iterable[Tenant]) -> None:
    """It keeps a little of its credit, and none if all others are idle, too.

    What was used while nobody waited was taken from nobody: else, of two tasks that together
    leave the machine idle now and then, the one with more work would always wait for the other.
    """
    others = [
        other
        for other in tenants
        if other is not tenant and not other.critical and other.component == tenant.component
    ]
    waiting = [
        other.consumed_s for other in others if other.backlog.size or other.flight is not None
    ]
    if waiting:
        tenant.consumed_s = max(tenant.consumed_s, min(waiting) - _CREDIT_S)
    else:
        for one in (tenant, *others):
            one.consumed_s = 0.0
