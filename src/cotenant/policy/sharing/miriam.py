"""A moment goes in; the head shard of Miriam's shaded binary tree comes out.

Source: Miriam (arXiv 2307.04339). A kernel of M tiles is a binary tree: its root is the whole
grid, children are halves, so depth n holds shards of M/2^n. Beside a critical kernel of N_c
blocks of S_c threads, on U units of L threads, a shard of N blocks of S threads is a candidate if

    N <= U - (N_c mod U)     and     S <= L - S_c.

Candidates are ranked by WIScore x OScore, and the best fifth is kept:

    WIScore = ((N_c mod U) + N) / U * (S_c + S) / L,   in [0, 1]
    OScore  = 1 if the launch overheads of all the shards together stay under a limit, else 0

The coordinator takes shards from the head of the tree, as large as the table says, and asks
again for what is left. There is no flag: a shard that has started runs to its end. With no
critical work kernels run in their original form, one behind another.

Where this follows its own reading: the tree's *shades* are block sizes, and a kernel here has
one; the limit of OScore is not published, and is taken to be a part of the kernel's own time;
the table's entry for a pair of kernels is worked out when the two first meet.
"""

import functools
from dataclasses import dataclass
from typing import ClassVar

from cotenant.device.sharing import Form, KernelView, Moment, Shard
from cotenant.policy.sharing.room import whole

KEPT = 0.2
"""Part of the design space that is kept."""


@dataclass(frozen=True)
class MiriamSharing:
    """See the module's text.

    >>> from cotenant.device.sharing import DeviceView, KernelView
    >>> kernel = KernelView("k", 64, 256, True, 0.008, None)
    >>> critical = KernelView("c", 12, 256, True, 0.002, None)
    >>> now = Moment(DeviceView(8, 1024), kernel, 0, critical, None, None, 0, 8)
    >>> MiriamSharing().next_shard(now)  # 12 mod 8 leaves 4
    Shard(form=<Form.STATIC: 'static'>, tiles=4, width=4, charge_s=0.0)
    """

    in_flight_max: int = 2
    """Kernels in the queue without critical work: what stands there cannot be called back."""
    launch_s: float = 1e-5
    """Overhead of one launch."""
    overhead_max: float = 0.25
    """Launch overhead of all shards together over the kernel's own time."""
    pauses: bool = False
    critical_first: bool = True
    at_once: bool = False
    patience_s: float = 0.0
    forms: ClassVar[frozenset[Form]] = frozenset({Form.PLAIN, Form.STATIC})

    def next_shard(self, moment: Moment) -> Shard | None:
        if moment.critical is None:
            return whole(moment) if moment.in_flight < self.in_flight_max else None
        if not moment.kernel.elastic or moment.in_flight:
            return None
        depths = ranked_depths(
            moment.device.units,
            moment.device.unit_threads,
            (moment.critical.tiles, moment.critical.threads),
            (moment.kernel.tiles, moment.kernel.threads),
            self._depth_max(moment.kernel),
        )
        if not depths:
            return None
        tiles = head_shard(moment.kernel.tiles, moment.done, depths[0])
        return Shard(Form.STATIC, tiles, tiles)

    def _depth_max(self, kernel: KernelView) -> int:
        """OScore as a depth: 2^n launches are under the limit up to this n."""
        whole_tree = kernel.tiles.bit_length()
        if kernel.alone_s is None:
            return whole_tree
        shards = int(self.overhead_max * kernel.alone_s / self.launch_s)
        return min(whole_tree, max(0, shards.bit_length() - 1))


@functools.lru_cache(maxsize=65536)
def ranked_depths(
    units: int,
    unit_threads: int,
    critical: tuple[int, int],
    kernel: tuple[int, int],
    depth_max: int,
) -> tuple[int, ...]:
    """The look-up table's entry for a pair of (tiles, threads): depths of the tree, best first.

    It depends on nothing that changes while the models run, so it is worked out once for each
    pair; a decision is one look.

    >>> ranked_depths(8, 1024, (12, 256), (64, 256), 7)
    (4,)
    """
    resting = critical[0] % units
    scores = {}
    depths = range(kernel[0].bit_length() + 1)
    for depth in depths:
        blocks = -(-kernel[0] // 2**depth)
        if blocks <= units - resting and kernel[1] <= unit_threads - critical[1]:
            balance = (resting + blocks) / units * (critical[1] + kernel[1]) / unit_threads
            scores[depth] = balance * (depth <= depth_max)
    best = sorted((depth for depth in scores if scores[depth] > 0.0), key=lambda n: (-scores[n], n))
    return tuple(best[: max(1, int(KEPT * len(depths)))])


def head_shard(tiles: int, done: int, depth: int) -> int:
    """Tiles of the tree's first node that is not complete, at this depth or the next below.

    >>> head_shard(10, 0, 1), head_shard(10, 5, 1), head_shard(10, 5, 2), head_shard(10, 8, 1)
    (5, 5, 3, 2)
    """
    first, after, level = 0, tiles, 0
    while (first != done or level < depth) and after - first > 1:
        middle = (first + after + 1) // 2
        if done < middle:
            after = middle
        else:
            first = middle
        level += 1
    return after - first
