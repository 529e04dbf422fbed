"""A task and its bundle on the device: what both sides, the loader and the watchdog speak of."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cotenant.device.arena import Arena, Place, end_of
from cotenant.device.bundle import Array
from cotenant.device.elastic.resident import Resident
from cotenant.device.sharing import KernelView

Message = dict[str, Any]
Answer = Callable[[Message], None]
"""Sends a message to the front; from any thread."""


class Tenant(NamedTuple):
    """A task that can be launched."""

    seat: int
    task: str
    critical: bool
    resident: Resident
    views: tuple[KernelView, ...]
    """One for each step."""
    arena: Arena


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
