"""Who runs now: pure policies from a snapshot to actions, chosen by name."""

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from cotenant.core.errors import WorkloadError
from cotenant.policy.base import Policy
from cotenant.policy.concurrent import Concurrent
from cotenant.policy.cotenant import Cotenant
from cotenant.policy.priority_queue import PriorityQueue
from cotenant.policy.sequential import Sequential

POLICIES: Mapping[str, Callable[[], Policy]] = MappingProxyType(
    {
        "cotenant": Cotenant,
        "sequential": Sequential,
        "concurrent": Concurrent,
        "priority-queue": PriorityQueue,
    }
)


def policy_by_name(name: str) -> Policy:
    """The policy of that name.

    Raises:
        WorkloadError: no such policy; the message lists those there are.
    """
    if name not in POLICIES:
        near = difflib.get_close_matches(name, POLICIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(POLICIES)}"
        raise WorkloadError(f"unknown policy {name!r}; {hint}")
    return POLICIES[name]()
