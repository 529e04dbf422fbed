"""A `Moment` goes in, a `Shard` comes out: what an elastic device asks before each launch.

Kernels are far shorter than the way to the coordinator and back, so the coordinator decides
who runs, and the device, with the rule that the policy gave it, how: which form of a kernel,
how many tiles, how wide. A rule is pure and frozen: it can be sent to the interpreter that
holds the device, and tested as data.
"""

from enum import StrEnum
from typing import NamedTuple, Protocol


class Form(StrEnum):
    """How a kernel is launched."""

    PLAIN = "plain"
    """As it was compiled: all tiles, in the device's order."""
    STATIC = "static"
    """A range of tiles on `width` physical blocks; runs to its end."""
    PREEMPTIVE = "preemptive"
    """Tiles are claimed one by one until all are done or the pause word is set."""


Costs = tuple[tuple[int, float], ...]
"""Rising widths of a static form, and the part of its time by which a neighbour takes longer."""


class DeviceView(NamedTuple):
    """What a kernel can occupy."""

    units: int
    """Multiprocessors, or compute units."""
    unit_threads: int
    """Threads that one of them holds at a time."""
    unit_blocks: int | None = None
    """Blocks that one of them holds at a time, however small; `None` where only threads count."""


class KernelView(NamedTuple):
    """One kernel as a rule sees it."""

    name: str
    tiles: int
    """Logical blocks of the whole kernel."""
    threads: int
    """Threads of one block."""
    elastic: bool
    """Whether it has the forms other than plain."""
    alone_s: float | None
    """Time of the whole kernel in its plain form alone; `None` while unknown."""
    memory_bound: bool | None
    """Whether memory traffic limits it, rather than arithmetic; `None` while unknown."""
    costs: Costs = ()
    """What its static form was measured to cost a neighbour; empty where nobody has."""


class Moment(NamedTuple):
    """Everything the launch of a best-effort kernel may depend on."""

    device: DeviceView
    kernel: KernelView
    """The best-effort kernel that comes next."""
    done: int
    """Tiles of it that are complete."""
    critical: KernelView | None
    """The critical kernel that runs or comes next; `None` without critical work on the device."""
    critical_left_s: float | None
    """Until that critical kernel ends; `None` when none runs or it is unknown."""
    next_critical_s: float | None
    """Until the next critical request that is known to come; `None` when none is known."""
    in_flight: int
    """Best-effort shards on the device."""
    width: int
    """Physical blocks that the guard allows best-effort work beside critical work."""
    assured_s: float = 0.0
    """For so long no critical request comes: every critical task said when its next one does."""
    critical_s: float = 0.0
    """For how long critical work has been on the device without a break."""
    charged_s: float = 0.0
    """What shards that were launched in that time may have cost it, by their rule's own word."""


class Shard(NamedTuple):
    """One launch of a best-effort kernel."""

    form: Form
    tiles: int
    """How many of the tiles that are left."""
    width: int
    """Physical blocks; without meaning for the plain form."""
    charge_s: float = 0.0
    """By how much it may delay the critical work that is there."""


class Sharing(Protocol):
    """How best-effort kernels share the device with critical ones."""

    @property
    def pauses(self) -> bool:
        """Whether critical work that arrives sets the pause word."""

    @property
    def critical_first(self) -> bool:
        """Whether critical kernels go to a queue of higher priority, where the device has one."""

    @property
    def forms(self) -> frozenset[Form]:
        """Forms that it may ask for; a device makes these ready when it loads a kernel.

        A driver compiles a kernel at its first launch, which may take seconds.
        """

    @property
    def at_once(self) -> bool:
        """Whether all that is left of an inference may be asked for as if it were one kernel.

        A driver that keeps launches then gets it in one call, if the answer is all of it in one
        shard. A rule that counts the kernels in flight wants to be asked for each.
        """

    @property
    def patience_s(self) -> float:
        """What it wants to wait for beside critical work takes at least so long."""

    def next_shard(self, moment: Moment) -> Shard | None:
        """The next launch, or `None`: wait until critical work ends or changes kernel."""
