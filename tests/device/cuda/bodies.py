"""A tile of a kernel that is known by name goes in; numpy computes it, in each of the forms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tests.device.elastic.programs import BRANCH_SPINS, spun

Body = Callable[[int, int, Sequence[Any]], None]
"""Number of the tile, threads of a block, and arguments: bytes of memory, or the bits of a word."""


def _spin(count: int) -> Body:
    def body(tile: int, threads: int, given: Sequence[Any]) -> None:
        x, y = (one.view(np.uint32) for one in given[:2])
        part = slice(tile * threads, (tile + 1) * threads)
        y[part] = spun(x[part], count)

    return body


def _sum(tile: int, threads: int, given: Sequence[Any]) -> None:
    a, b, c, y = (one.view(np.uint32) for one in given[:4])
    part = slice(tile * threads, (tile + 1) * threads)
    y[part] = a[part] + b[part] * np.uint32(3) + c[part] * np.uint32(5)


def _scale(tile: int, threads: int, given: Sequence[Any]) -> None:
    x, w, y = (one.view(np.float32) for one in given[:3])
    part = slice(tile * threads, (tile + 1) * threads)
    y[part] = x[part] * np.resize(w[:4], threads)


def _waits(tile: int, threads: int, given: Sequence[Any]) -> None:
    x, y = (one.view(np.float32) for one in given[:2])
    part = slice(tile * threads, (tile + 1) * threads)
    y[part] = x[part] + np.float32(1)


def _stops(tile: int, threads: int, given: Sequence[Any]) -> None:
    y, word, at = (one.view(np.int32) for one in given[:3])
    y[tile] += 1
    if tile == at[0]:
        word[0] = 1


def _wild(tile: int, threads: int, given: Sequence[Any]) -> None:
    """It reads where nothing is."""
    raise IndexError


def _nothing(tile: int, threads: int, given: Sequence[Any]) -> None:
    """A load whose results nobody looks at."""


BODIES: Mapping[str, Body] = {
    "spin": _spin(20_000),
    **{f"spin_{name}": _spin(count) for name, count in BRANCH_SPINS.items()},
    "sum": _sum,
    "scale": _scale,
    "waits": _waits,
    "stops": _stops,
    "background": _nothing,
    "wild": _wild,
}


def run_kernel(
    bodies: Mapping[str, Body], name: str, blocks: Sequence[int], threads: int, given: list[Any]
) -> int:
    """Run an entry; returns how many tiles it has done."""
    if name.endswith("_static"):
        body, tiles = bodies[name.removesuffix("_static")], range(*given[-5:-3])
        _elastic(blocks, given)
        for first in range(blocks[0]):
            for tile in tiles[first :: blocks[0]]:
                body(tile, threads, given)
        return len(tiles)
    if name.endswith("_preemptive"):
        _elastic(blocks, given)
        return _preemptive(bodies[name.removesuffix("_preemptive")], blocks[0], threads, given)
    count = blocks[0] * blocks[1] * blocks[2]
    for tile in range(count):
        bodies[name](tile, threads, given)
    return count


def _elastic(blocks: Sequence[int], given: Sequence[Any]) -> None:
    assert tuple(blocks[1:]) == (1, 1), "an elastic form runs on one axis"
    assert all(size >= 1 for size in given[-3:]), "the logical grid is missing"


def _preemptive(body: Body, width: int, threads: int, given: list[Any]) -> int:
    progress, pause, end, claim = (*(one.view(np.uint32) for one in given[-7:-5]), *given[-5:-3])
    done, running = 0, width
    while running:
        for _ in range(running):
            if pause[0]:
                running -= 1
                continue
            first, progress[0] = int(progress[0]), progress[0] + claim
            if first >= end:
                running -= 1
                continue
            for tile in range(first, min(first + claim, end)):
                body(tile, threads, given)
                done += 1
    return done
