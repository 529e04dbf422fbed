"""The best-effort side on a real device: how far it goes once the pause word is set."""

from pathlib import Path
from typing import Any

import pytest

from cotenant.core.clock import MonotonicClock
from cotenant.device.bundle import read_bundle
from cotenant.device.cpu.scheduling import Rung
from cotenant.device.elastic.resident import Resident
from cotenant.device.opencl.workers import Workers
from tests.device.elastic.programs import bundled
from tests.device.elastic.stopping import TILES, stopped, stopping_program


@pytest.mark.parametrize("width", [1, 2, 7])
@pytest.mark.parametrize("at", [0, 13, TILES - 1])
def test_after_the_flag_each_block_ends_its_tile_and_begins_no_other(
    width: int, at: int, place: Any, tmp_path: Path
) -> None:
    resident = Resident(
        read_bundle(bundled(stopping_program(), tmp_path, "stops"), "opencl"), place
    )
    workers = Workers(frozenset(), Rung.GATED, MonotonicClock())
    sums, seen = stopped(resident, place, workers, at=at, width=width)
    assert sums == [1] * TILES, "a tile was lost or done twice"
    done = [moment.done for moment in seen]
    assert done[0] == 0
    # Tile `at` was claimed in order, so at most the other blocks' tiles were, too.
    assert all(at + 1 <= count <= at + width for count in done[1:])
    if at + width < TILES:
        assert len(done) == 2, "it did not stop, or more than once"
