"""A task and its bundle on the device: what both sides, the loader and the watchdog speak of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cotenant.device.arena import Arena, Place, end_of
from cotenant.device.bundle import Array
from cotenant.device.elastic.driver import DriverError, Recording
from cotenant.device.elastic.resident import Resident
from cotenant.device.sharing import Form, KernelView

Message = dict[str, Any]
Answer = Callable[[Message], None]
"""Sends a message to the front; from any thread."""


class Recorded(NamedTuple):
    """All kernels of a bundle, to be queued at once, in each form in which that may be asked for.

    Preemptive ones take up each step where its counter stands: steps that are complete end at
    once, so that the same recording goes on with an inference that was paused.
    """

    forms: Mapping[Form, Recording]
    view: KernelView
    """What stands for them, since nobody is told of them one by one."""


class Tenant(NamedTuple):
    """A task that can be launched."""

    seat: int
    task: str
    critical: bool
    resident: Resident
    views: tuple[KernelView, ...]
    """One for each step."""
    arena: Arena
    recorded: Recorded | None = None
    """Where the device's driver keeps launches."""


class Order(NamedTuple):
    """One launch of a tenant."""

    tenant: Tenant
    inputs: Mapping[str, Array]
    places: list[Place]
    """Where the inputs lie; the outputs are put behind them."""
    start_s: float


def done(order: Order, outputs: Mapping[str, Array], end_s: float, busy_s: float) -> Message:
    """The message that an order has ended well; its outputs lie in shared memory."""
    places = order.tenant.arena.write(
        {name: [array] for name, array in outputs.items()}, start=end_of(order.places)
    )
    return {
        "seat": order.tenant.seat,
        "done": places,
        "start_s": order.start_s,
        "end_s": end_s,
        "busy_s": busy_s,
    }


def failed(seat: int, error: DriverError) -> Message:
    """The message that an order has ended badly."""
    return {"seat": seat, "failed": str(error)} | lost(error)


def lost(error: Exception) -> Message:
    """What a message says beside an error after which only a new interpreter is of use."""
    return {"lost": True} if isinstance(error, DriverError) and error.lost else {}


def as_one(views: Sequence[KernelView]) -> KernelView:
    """What stands for kernels whose ends nobody is told of one by one: the longest, for all.

    A recording of a driver has one end. Until it comes, the rule sees the kernel that runs most
    of the time, and the time that is left is that of the whole inference; it may so let shards
    run beside a kernel that leaves them less room. The watchdog's limit grows likewise.
    """
    longest = max(views, key=lambda view: view.alone_s or 0.0)
    times_s = [view.alone_s for view in views if view.alone_s is not None]
    whole_s = sum(times_s) if len(times_s) == len(views) else None
    return longest._replace(alone_s=whole_s, elastic=all(view.elastic for view in views))
