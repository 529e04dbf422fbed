"""The folder of a bundle goes in; one zip with the same files comes out.

Equal folders give equal bytes: no times, owners or orders of a file system are in it. Entries
are stored, since weights hardly shrink, and a reader then knows that nothing grows.
"""

import json
import shutil
import zipfile
from pathlib import Path

from cotenant.core.errors import ModelError
from cotenant.device.contents import MANIFEST, open_contents

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip can hold."""
_UNIX, _MODE = 3, 0o100644 << 16


def pack(folder: Path, file: Path) -> None:
    """Write the zip, with the manifest first.

    Raises:
        OSError: it cannot be written.
    """
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    names.sort(key=lambda name: name != MANIFEST)
    with zipfile.ZipFile(file, "x", zipfile.ZIP_STORED) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, _MODE
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as source, archive.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def holds_bundle(file: Path, kind: str) -> bool:
    """Whether a file is a zip whose manifest is of this format, so that it may be replaced."""
    try:
        with open_contents(file) as contents:
            noted = json.loads(contents.read(MANIFEST))
    except (ModelError, OSError, ValueError):
        return False
    return isinstance(noted, dict) and noted.get("format") == kind
