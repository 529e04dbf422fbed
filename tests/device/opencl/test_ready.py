"""A bundle made ready: nothing that a shard needs is left to compile."""

import os
from pathlib import Path

import pytest

from cotenant.device.bundle import read_bundle
from cotenant.device.elastic.ready import make_ready
from cotenant.device.elastic.resident import Resident
from cotenant.device.opencl.driver import devices, name_of, open_place
from cotenant.device.sharing import Form
from tests.device.elastic.programs import bundled, spin_program


@pytest.mark.usefixtures("place")  # there is a device
def test_shards_of_any_size_find_their_code_on_the_disk(tmp_path: Path) -> None:
    """PoCL holds 128 kernels; what it lets go of comes from the disk, or is compiled anew."""
    names = [name_of(device) for device in devices()]
    [number] = [at for at, name in enumerate(names) if "Portable Computing Language" in name]
    place = open_place(number)
    kept = Path(os.environ["POCL_CACHE_DIR"])
    folders = set(kept.rglob("spin_static"))
    program = spin_program(steps=1, tiles=1 << 15, spins=1)  # of 2^17 threads: no small grid
    resident = Resident(read_bundle(bundled(program, tmp_path, "b"), "opencl"), place)
    make_ready(resident, place, frozenset(Form))
    [made] = set(kept.rglob("spin_static")) - folders
    assert {one.name for one in made.iterdir()} == {"4-1-1-goffs0", "4-1-1-goffs0-smallgrid"}
