"""A moment goes in; the whole kernel comes out, unless one of this round still runs.

Source: the baseline *Inter-stream Barrier* of Miriam (arXiv 2307.04339, evaluation): kernels of
the streams start together, round by round, with a barrier between two rounds.

A rule decides about best-effort kernels, so it holds the best-effort side of the barrier: one
kernel in flight, the next when that has ended, and no priority for either stream. Where a device
queues a whole critical inference at once, as `device/elastic` does, critical kernels do not wait
for the round to end: this baseline is then kinder to critical work than the published one.
"""

from dataclasses import dataclass
from typing import ClassVar

from cotenant.device.sharing import Form, Moment, Shard
from cotenant.policy.sharing.room import plain


@dataclass(frozen=True)
class InterStreamBarrierSharing:
    """launch iff no best-effort kernel is in flight.

    >>> from cotenant.device.sharing import DeviceView, KernelView
    >>> kernel = KernelView("k", 64, 128, True, None, None)
    >>> now = Moment(DeviceView(4, 1024), kernel, 0, kernel, None, None, 0, 4)
    >>> InterStreamBarrierSharing().next_shard(now).tiles
    64
    >>> InterStreamBarrierSharing().next_shard(now._replace(in_flight=1)) is None
    True
    """

    pauses: bool = False
    critical_first: bool = False
    at_once: bool = False
    patience_s: float = 0.0
    forms: ClassVar[frozenset[Form]] = frozenset({Form.PLAIN})

    def next_shard(self, moment: Moment) -> Shard | None:
        return None if moment.in_flight else plain(moment)
