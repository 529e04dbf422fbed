"""A bundle goes in; how long one tile of its kernels takes on a device comes out.

A paused kernel finishes the tiles that it has claimed, so a tile's time is what bounds a pause.
Tiles are launched one at a time on an idle device. A pause meets a kernel as often as the kernel
runs, so a tile counts as much as its kernel takes of the inference; unmodified kernels, which
have no tiles to stop at, count as one tile each.

Run as a program of its own: a driver is foreign code.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cotenant.core.errors import CotenantError, DeviceError
from cotenant.device.accelerators import KINDS, open_place
from cotenant.device.bundle import read_bundle
from cotenant.device.elastic.driver import Event
from cotenant.device.elastic.launch import launch_plain, launch_static
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.ready import bandwidth, make_ready, views
from cotenant.device.elastic.resident import Resident, Step
from cotenant.device.sharing import Form

_TILES = 24
"""Of each kernel."""
_SEED = 1


class TileTimes(NamedTuple):
    """Of a whole model, in seconds."""

    median_s: float
    p99_s: float


def tile_times(kind: str, bundle: Path) -> TileTimes:
    """Of a bundle on the first device of a kind.

    Raises:
        DeviceError: it does not run there.
    """
    command = [sys.executable, "-m", "cotenant.bench.tiles", kind, str(bundle)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise DeviceError(
            f"the tiles of {str(bundle)!r} could not be timed: {asked.stderr.strip()[-500:]}"
        )
    return TileTimes(**json.loads(asked.stdout))


def quantiles(times_s: list[float], weights: list[float]) -> TileTimes:
    """Weighted median and 99th percentile: the least time that so much of the weight is within.

    >>> quantiles([1.0, 2.0, 3.0], [0.98, 0.01, 0.01])
    TileTimes(median_s=1.0, p99_s=2.0)
    """
    order = np.argsort(times_s)
    share = np.cumsum(np.asarray(weights)[order]) / np.sum(weights)
    # Rounding may leave a share a hair under what it is.
    at = np.minimum(np.searchsorted(share, np.array([0.5, 0.99]) - 1e-9), order.size - 1)
    return TileTimes(*(float(times_s[order[place]]) for place in at))


def measured(bundle: Path, kind: str, place: Place) -> TileTimes:
    """Time tiles of every step.

    Args:
        place: with a queue that takes times.
    """
    resident = Resident(read_bundle(bundle, kind), place)
    make_ready(resident, place, frozenset({Form.STATIC}))
    about = views(resident, place, bandwidth(place), lambda: None)
    rng = np.random.default_rng(_SEED)
    times_s: list[float] = []
    weights: list[float] = []
    for step, view in zip(resident.steps, about, strict=True):
        own_s = [_lasted_s(_tile(step, place, rng)) for _ in range(_TILES)]
        times_s += own_s
        weights += [(view.alone_s or 0.0) / len(own_s)] * len(own_s)
    return quantiles(times_s, weights)


def _tile(step: Step, place: Place, rng: np.random.Generator) -> Event:
    if step.kernel.static is None:
        return launch_plain(place, step.kernel, step.arguments)
    first = int(rng.integers(step.kernel.tiles))
    return launch_static(place, step.kernel, step.arguments, range(first, first + 1), 1)


def _lasted_s(event: Event) -> float:
    event.wait()
    return event.lasted_s


def main(kind: str, bundle: str) -> None:
    """Print the times as JSON."""
    try:
        place = open_place(KINDS[kind])
        found = measured(Path(bundle), kind, place._replace(queue=place.device.queue(timed=True)))
    except CotenantError as error:
        sys.exit(str(error))
    print(json.dumps(found._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
