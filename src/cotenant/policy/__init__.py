"""Who runs now: pure policies from a snapshot to actions, chosen by name."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from cotenant.core.errors import WorkloadError
from cotenant.core.hardware import Capability, Component
from cotenant.policy.base import Policy
from cotenant.policy.concurrent import Concurrent
from cotenant.policy.cotenant import Cotenant
from cotenant.policy.inter_stream_barrier import InterStreamBarrier
from cotenant.policy.miriam import Miriam
from cotenant.policy.multi_stream import MultiStream
from cotenant.policy.orion import Orion
from cotenant.policy.priority_queue import PriorityQueue
from cotenant.policy.reef import Reef
from cotenant.policy.sequential import Sequential
from cotenant.policy.sharing.cotenant import CotenantSharing

POLICIES: Mapping[str, Callable[[], Policy]] = MappingProxyType(
    {
        "cotenant": Cotenant,
        "sequential": Sequential,
        "concurrent": Concurrent,
        "priority-queue": PriorityQueue,
        "multi-stream": MultiStream,
        "inter-stream-barrier": InterStreamBarrier,
        "miriam": Miriam,
        "reef": Reef,
        "orion": Orion,
    }
)


def policy_by_name(name: str) -> Policy:
    """The policy of that name; `cotenant@0.2` is the own one with an epsilon of 0.2.

    Raises:
        WorkloadError: no such policy; the message lists those there are.
    """
    known, at, epsilon = name.partition("@")
    if at and known == "cotenant":
        return Cotenant(sharing=CotenantSharing(epsilon=_epsilon(name, epsilon)), name=name)
    if name not in POLICIES:
        near = difflib.get_close_matches(name, POLICIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(POLICIES)}"
        raise WorkloadError(f"unknown policy {name!r}; {hint}")
    return POLICIES[name]()


def check_policy(policy: Policy, components: Iterable[Component]) -> None:
    """Whether the policy means anything on these components.

    Raises:
        WorkloadError: it decides kernel by kernel, and no component can be told so.
    """
    if policy.by_kernel and not any(
        component.capability is Capability.ELASTIC for component in components
    ):
        others = ", ".join(name for name, make in POLICIES.items() if not make().by_kernel)
        raise WorkloadError(
            f"policy {policy.name!r} decides kernel by kernel, and no component here is elastic; "
            f"map the tasks to an OpenCL or CUDA component, or choose one of {others}"
        )


def _epsilon(name: str, text: str) -> float:
    try:
        epsilon = float(text)
    except ValueError:
        epsilon = -1.0
    if not 0.0 <= epsilon <= 1.0:
        raise WorkloadError(
            f"policy {name!r}: {text!r} is no epsilon; write a number from 0 to 1, as in "
            "'cotenant@0.05'"
        )
    return epsilon
