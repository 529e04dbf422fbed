"""A bundle goes in; what a driver compiles of it lies in the driver's own cache afterwards.

A driver may compile a kernel on the very threads that run kernels. While critical work is
served, this is done once in an interpreter apart, below everything else; loading then finds it.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from cotenant.core.errors import CotenantError
from cotenant.device.bundle import read_bundle
from cotenant.device.cpu.scheduling import Rung, enter_best_effort
from cotenant.device.elastic.kind import Kind
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.ready import make_ready
from cotenant.device.elastic.resident import Resident
from cotenant.device.sharing import Form


def warm_apart(kind: Kind, device: int, bundle: str, forms: frozenset[Form]) -> None:
    """Compile all kernels of a bundle; whatever goes wrong, loading it will say so."""
    arguments = [str(device), bundle, *sorted(forms)]
    command = [sys.executable, "-m", f"{kind.room}.warm", *arguments]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere) as apart:
        apart.wait()


def main(kind: Kind, open_place: Callable[[int], Place]) -> None:
    """Arguments of the program: number of the device, folder of the bundle, forms."""
    device, bundle, *forms = sys.argv[1:]
    enter_best_effort(Rung.IDLE)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        place = open_place(int(device))
        resident = Resident(read_bundle(Path(bundle), kind.name), place)
        make_ready(resident, place, frozenset(map(Form, forms)))
    except CotenantError as error:
        sys.exit(str(error))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
