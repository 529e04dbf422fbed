"""A moment goes in; the whole kernel as it was compiled comes out, whatever else runs.

Source: the baseline *Multi-stream* of Miriam (arXiv 2307.04339, evaluation): one stream for
each task, the critical one of higher priority. The device's own scheduler decides the rest; a
best-effort kernel that has started runs to its end.
"""

from dataclasses import dataclass
from typing import ClassVar

from cotenant.device.sharing import Form, Moment, Shard
from cotenant.policy.sharing.room import plain


@dataclass(frozen=True)
class MultiStreamSharing:
    """launch always.

    >>> from cotenant.device.sharing import DeviceView, KernelView
    >>> kernel = KernelView("k", 64, 128, True, None, None)
    >>> now = Moment(DeviceView(4, 1024), kernel, 0, kernel, None, None, 3, 4)
    >>> MultiStreamSharing().next_shard(now)
    Shard(form=<Form.PLAIN: 'plain'>, tiles=64, width=32, charge_s=0.0)
    """

    critical_first: bool = True
    """False for sessions side by side that know of no criticality."""
    pauses: bool = False
    at_once: bool = True
    patience_s: float = 0.0
    forms: ClassVar[frozenset[Form]] = frozenset({Form.PLAIN})

    def next_shard(self, moment: Moment) -> Shard | None:
        return plain(moment)
