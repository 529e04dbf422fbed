"""A moment goes in; what best-effort work may do without critical work feeling it comes out.

Without critical work: all that is left, as wide as the device, in the form that pauses. Three
exceptions, each for the same end, that critical work finds the device empty:

- A kernel that is over before any critical request can come needs no pause either, and is
  launched plain, which is quicker: where every critical task is periodic, and where there is none.
- A kernel that is over in less than `brief_s` needs no pause: it is launched plain. (Tally,
  ASPLOS 2025, chooses between forms by the turnaround, under a limit of 0.1 ms.)
- Less than `hint_s` before an arrival that is known to come, only what is surely over by then, in
  half of that time, is started. (GPreempt, ATC 2025: a hint before the next arrival.)

Beside a critical kernel: a shard that is over before it, lasts a tile or `shard_s`, since it cannot
be called back, and is so narrow that it costs the critical kernel at most `epsilon` of its time.
Where the bundle was tuned on this device, that is the widest of the measured widths up to which
none costs more. The table's neighbour is a load that fills the device, so beside a critical kernel
that leaves units idle it promises less than there may be.

Where nothing was measured, the cost is modelled. With U units of L threads, the critical kernel's
tiles N_c of S_c threads and ours of S, and w physical blocks, it is taken to be

    0             on units that the critical kernel never uses (w <= U - N_c), where both are
                  bound by arithmetic, or one by it and the other by memory traffic
    w / U         on the same units, where both are bound by memory traffic or it is unknown: of
                  the bandwidth, which all units share, padding takes at most its share of them
    w S / (U L)   on units that it does use (w <= U - N_c mod U, S + S_c <= L: Miriam's
                  inequalities), where one is bound by memory traffic and the other is not. A
                  processor's unit takes such blocks in turn, and yet periodic LSTM and squeezenet
                  were a little faster for it

and anything else is too much. Where nothing fits for nothing, critical work that has been there for
`starving_s` without a break spares `epsilon` of its time from then on: shards as brief, of any
width within the guard's, that together last no longer than that part of it. None can delay it by
more than it lasts, whatever they share. Work that leaves a gap earlier need spare nothing: in the
gap best-effort work has the whole device, with caches of its own, and what it was given before
costs more than it brings. A launch costs time of its own, and so does being asked, on a processor
time of the same cores: so each of these is saved up for in full, and what has to wait is not looked
at again for `patience_s`. The model was made here; the guard narrows what it, or the table, gets
wrong.
"""

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar

from cotenant.device.sharing import Form, KernelView, Moment, Shard
from cotenant.policy.sharing.room import (
    full_width,
    idle_units,
    tiles_within,
    wave_s,
    whole,
)

_SURELY = 2.0
"""How many times longer than alone a kernel may take that nothing can call back."""


@dataclass(frozen=True)
class CotenantSharing:
    """See the module's text; the fields are the rule's only knobs.

    >>> from cotenant.device.sharing import DeviceView, KernelView
    >>> kernel = KernelView("k", 64, 1024, True, 0.008, memory_bound=False)
    >>> now = Moment(DeviceView(8, 1024), kernel, 0, None, None, None, 0, 8)
    >>> rule = CotenantSharing()
    >>> rule.next_shard(now)
    Shard(form=<Form.PREEMPTIVE: 'preemptive'>, tiles=64, width=8, charge_s=0.0)
    >>> rule.next_shard(now._replace(next_critical_s=0.002))
    Shard(form=<Form.STATIC: 'static'>, tiles=8, width=8, charge_s=0.0)
    >>> rule.next_shard(now._replace(next_critical_s=0.02, assured_s=0.02)).form
    <Form.PLAIN: 'plain'>
    >>> small = KernelView("c", 5, 1024, True, 0.002, memory_bound=False)
    >>> rule.next_shard(now._replace(critical=small, critical_left_s=0.0025))
    Shard(form=<Form.STATIC: 'static'>, tiles=3, width=3, charge_s=0.0)
    >>> measured = kernel._replace(costs=((1, 0.01), (2, 0.04), (4, 0.2)))
    >>> rule.next_shard(now._replace(kernel=measured, critical=small, critical_left_s=0.0025))
    Shard(form=<Form.STATIC: 'static'>, tiles=2, width=2, charge_s=0.0)
    """

    epsilon: float = 0.05
    """Part of its own time by which padding may lengthen a critical kernel."""
    hint_s: float = 0.002
    brief_s: float = 0.0001
    shard_s: float = 0.001
    pauses: bool = True
    critical_first: bool = True
    at_once: bool = True
    starving_s: float = 0.25
    """For how long best-effort work may be left without anything."""
    patience_s: float = 0.001
    forms: ClassVar[frozenset[Form]] = frozenset(Form)

    def next_shard(self, moment: Moment) -> Shard | None:
        if moment.critical is not None:
            return self._beside(moment, moment.critical)
        gap_s = moment.next_critical_s
        if gap_s is not None and 0.0 < gap_s <= self.hint_s:
            return _over_within(moment, gap_s / _SURELY)
        if not moment.kernel.elastic or self._brief(moment) or self._assured(moment):
            return whole(moment)
        width = full_width(moment)
        return Shard(Form.PREEMPTIVE, moment.kernel.tiles - moment.done, width)

    def _brief(self, moment: Moment) -> bool:
        # Behind another shard it would have to wait for that one's end or pause.
        alone_s = moment.kernel.alone_s
        return alone_s is not None and alone_s <= self.brief_s and not moment.in_flight

    def _assured(self, moment: Moment) -> bool:
        alone_s = moment.kernel.alone_s
        return alone_s is not None and _SURELY * alone_s + self.hint_s <= moment.assured_s

    def _beside(self, moment: Moment, critical: KernelView) -> Shard | None:
        if not moment.kernel.elastic or moment.in_flight:
            return None
        tile_s = wave_s(moment.device, moment.kernel)
        if tile_s is None:
            return None
        # Another critical request may come while it runs, and nothing can call it back.
        most_s = max(tile_s, self.shard_s)
        if moment.critical_left_s is not None:
            width = self._padding(moment, critical)
            time_s = min(most_s, moment.critical_left_s)
            tiles = tiles_within(moment, width, time_s) if width > 0 else 0
            if tiles:
                return Shard(Form.STATIC, tiles, min(width, tiles))
        return self._spared(moment, tile_s, most_s)

    def _spared(self, moment: Moment, tile_s: float, most_s: float) -> Shard | None:
        """What lasts no longer than critical work still has to spare."""
        spare_s = self.epsilon * (moment.critical_s - self.starving_s) - moment.charged_s
        if spare_s < most_s:
            return None
        width = min(moment.width, full_width(moment))
        tiles = tiles_within(moment, width, most_s)
        width = min(width, tiles)
        return Shard(Form.STATIC, tiles, width, charge_s=tile_s * math.ceil(tiles / width))

    def _padding(self, moment: Moment, critical: KernelView) -> int:
        """The largest width within the guard's whose cost is within epsilon."""
        costs = moment.kernel.costs
        if not costs:
            return min(moment.width, self._by_model(moment, critical))
        # Up to the first that costs too much: if a wider one seems to cost less, that is noise.
        cheap = takewhile(lambda one: one[1] <= self.epsilon, costs)
        return max((width for width, _ in cheap if width <= moment.width), default=0)

    def _by_model(self, moment: Moment, critical: KernelView) -> int:
        """The same, where nothing was measured."""
        device, kernel = moment.device, moment.kernel
        idle = idle_units(device, critical)
        ours, theirs = kernel.memory_bound, critical.memory_bound
        if ours is None or theirs is None or (ours and theirs):
            return min(idle, int(self.epsilon * device.units))
        if ours == theirs or kernel.threads + critical.threads > device.unit_threads:
            return idle
        beside = int(self.epsilon * device.units * device.unit_threads / kernel.threads)
        return min(max(idle, beside), device.units - critical.tiles % device.units)


def _over_within(moment: Moment, gap_s: float) -> Shard | None:
    kernel = moment.kernel
    if not kernel.elastic:
        brief = kernel.alone_s is not None and kernel.alone_s <= gap_s
        return whole(moment) if brief and not moment.in_flight else None
    if moment.in_flight:  # what is there already may take all the time that is left
        return None
    width = full_width(moment)
    tiles = tiles_within(moment, width, gap_s)
    return Shard(Form.STATIC, tiles, min(width, tiles)) if tiles else None
