"""Sharing rules that are as simple as can be, importable where a device's interpreter looks."""

from dataclasses import dataclass
from typing import ClassVar

from cotenant.device.sharing import Form, Moment, Shard


@dataclass(frozen=True)
class Plain:
    """Every kernel as it was compiled, whatever else runs."""

    pauses: bool = False
    critical_first: bool = False
    at_once: bool = True
    patience_s: float = 0.0
    forms: ClassVar[frozenset[Form]] = frozenset({Form.PLAIN})

    def next_shard(self, moment: Moment) -> Shard | None:
        return Shard(Form.PLAIN, moment.kernel.tiles, 1)


@dataclass(frozen=True)
class Pausing:
    """Preemptive, in parts of some tiles; nothing while critical work is on the device."""

    tiles: int = 1_000_000
    width: int = 2
    pauses: bool = True
    critical_first: bool = True
    at_once: bool = True
    patience_s: float = 0.0
    forms: ClassVar[frozenset[Form]] = frozenset({Form.PREEMPTIVE})

    def next_shard(self, moment: Moment) -> Shard | None:
        if moment.critical is not None:
            return None
        return Shard(Form.PREEMPTIVE, self.tiles, self.width)


@dataclass(frozen=True)
class Motley:
    """All forms in turn, so that each follows each; narrow beside critical work."""

    pauses: bool = True
    critical_first: bool = True
    at_once: bool = True
    patience_s: float = 0.0
    forms: ClassVar[frozenset[Form]] = frozenset(Form)

    def next_shard(self, moment: Moment) -> Shard | None:
        form = list(Form)[(moment.done + moment.kernel.tiles + moment.in_flight) % 3]
        return Shard(form, 1 + moment.done // 2, 1 if moment.critical else 3)
