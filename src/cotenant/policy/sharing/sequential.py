"""A moment goes in; the whole kernel, or nothing while critical work is there, comes out.

Source: the baseline *Sequential* of Miriam (arXiv 2307.04339, evaluation): one inference after
the other. The coordinator starts them in the order of their arrival; this rule sees to it that
no kernel of one runs beside a kernel of the other.
"""

from dataclasses import dataclass
from typing import ClassVar

from cotenant.device.sharing import Form, Moment, Shard
from cotenant.policy.sharing.room import plain


@dataclass(frozen=True)
class SequentialSharing:
    """launch iff no critical kernel is on the device.

    >>> from cotenant.device.sharing import DeviceView, KernelView
    >>> kernel = KernelView("k", 64, 128, True, None, None)
    >>> alone = Moment(DeviceView(4, 1024), kernel, 0, None, None, None, 0, 4)
    >>> SequentialSharing().next_shard(alone).tiles
    64
    >>> SequentialSharing().next_shard(alone._replace(critical=kernel)) is None
    True
    """

    pauses: bool = False
    critical_first: bool = False
    at_once: bool = True
    patience_s: float = 0.0
    forms: ClassVar[frozenset[Form]] = frozenset({Form.PLAIN})

    def next_shard(self, moment: Moment) -> Shard | None:
        return None if moment.critical is not None else plain(moment)
