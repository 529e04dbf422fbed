"""A bundle's tuning table goes in; what was found of each kernel on this device comes out.

`cotenant tune` measures on the device and writes `tuning.json` into the bundle's folder, or
beside its zip. It is no part of what the manifest seals, so it names what it is of: the bundle by
its hash, the device, and the driver, all of which must be the same where it is used. It has a
hash of its own: figures that somebody changed are not what was measured.

Version 2 brought what each width costs a neighbour; tables of version 1 are read, and know none.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cotenant.core.errors import ModelError
from cotenant.device.bundle import MANIFEST, Bundle, digest, seal
from cotenant.device.sharing import Costs

FORMAT = "cotenant-tuning"
VERSION = 2
VERSIONS = (1, VERSION)
"""What is read here."""
TABLE = "tuning.json"
DEFAULT = "default"
"""Stands for the schedule of a kernel that is no variant."""

_log = logging.getLogger(__name__)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Times(_Frozen):
    """Medians of one schedule of a kernel, in its plain form."""

    alone_s: float = Field(ge=0)
    beside_s: float = Field(ge=0)
    """From when it may start until it ends, beside a background load; waiting for a turn counts."""


class Width(_Frozen):
    """The static form of the chosen schedule on so many physical blocks."""

    width: int = Field(ge=1)
    static_s: float = Field(ge=0)
    """Of all tiles, alone."""
    cost: float | None = Field(default=None, ge=-1)
    """Part of its own time by which a neighbour takes longer beside it; `None`: not measured.

    As it was measured: a figure under nought is noise, and says how large that is.
    """


class Tuned(_Frozen):
    """What was found of one kernel."""

    chosen: str
    schedules: dict[str, Times]
    """By the name of a variant, and 'default'."""
    refused: dict[str, str] = {}
    """Variants that did not build here, or whose results differ, with the reason."""
    widths: tuple[Width, ...]

    @property
    def costs(self) -> Costs:
        """Of the widths whose cost was measured, by rising width."""
        known = ((one.width, one.cost) for one in self.widths if one.cost is not None)
        return tuple(sorted(known))


class Table(_Frozen):
    """What tuning.json holds."""

    format: Literal["cotenant-tuning"] = "cotenant-tuning"
    version: Literal[1, 2] = 2
    cotenant: str
    """Version of what measured."""
    bundle_sha256: str
    device: str
    driver: str
    rounds: int
    background_s: float
    """How long one launch of the background load takes alone."""
    kernels: dict[str, Tuned]


class Here(NamedTuple):
    """A device, as far as a table cares."""

    device: str
    driver: str


def table_path(bundle: Path) -> Path:
    """Where a bundle's table lies: in its folder, or beside its zip."""
    return bundle.with_name(f"{bundle.name}.{TABLE}") if bundle.is_file() else bundle / TABLE


def write_table(bundle: Path, table: Table) -> Path:
    """Put a table to a bundle, in place of one that may be there.

    Raises:
        ModelError: the folder cannot be written.
    """
    path = table_path(bundle)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{TABLE}.", delete=False
        ) as file:
            file.write(seal(table.model_dump(mode="json")))
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise ModelError(
            f"cannot write {str(path)!r}: {error.strerror or error}; "
            "copy the bundle to a folder that can be written, and tune it there"
        ) from error
    return path


def read_table(bundle: Bundle, here: Here) -> Table | None:
    """The table of a bundle for this device; `None` where there is none.

    Raises:
        ModelError: it was edited or damaged, or is of another bundle, device or driver.
    """
    path = table_path(bundle.folder)
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(_refused(path, f"it cannot be read: {error}")) from error
    if not isinstance(noted, dict) or noted.get("format") != FORMAT:
        raise ModelError(_refused(path, "it is no tuning table"))
    version = noted.get("version")
    if version not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise ModelError(_refused(path, f"it has version {version}, and {known} are read here"))
    sha256 = noted.pop("sha256", None)
    if sha256 != digest(noted):
        raise ModelError(_refused(path, "it was edited or damaged: its hash is another one"))
    try:
        table = Table.model_validate(noted)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(_refused(path, f"{where}: {first['msg']}")) from error
    _belongs(path, table, bundle, here)
    return table


def tuned_kernels(bundle: Bundle, here: Here) -> Mapping[str, Tuned]:
    """What is known of each kernel here; nothing without a table.

    A table that may not be used is told of in one line of the log, and then is as none.
    """
    try:
        table = read_table(bundle, here)
    except ModelError as error:
        _log.warning("%s", error)
        return {}
    return {} if table is None else table.kernels


def keep_table(folder: Path, new: Path) -> None:
    """Copy a bundle's table to where the same bundle was written anew."""
    table, old = folder / TABLE, folder / MANIFEST
    if table.is_file() and old.read_bytes() == (new / MANIFEST).read_bytes():
        shutil.copy2(table, new / TABLE)


def _belongs(path: Path, table: Table, bundle: Bundle, here: Here) -> None:
    if table.bundle_sha256 != bundle.sha256:
        raise ModelError(_refused(path, "it is of another bundle, or of this one before a change"))
    if table.device != here.device:
        raise ModelError(_refused(path, f"it is of {table.device!r}, and this is {here.device!r}"))
    if table.driver != here.driver:
        raise ModelError(
            _refused(path, f"it is of driver {table.driver!r}, and here is {here.driver!r}")
        )
    for name, one in table.kernels.items():
        kernel = bundle.manifest.kernels.get(name)
        if kernel is None or one.chosen not in (DEFAULT, *kernel.variants):
            raise ModelError(_refused(path, f"the bundle has no {one.chosen!r} of {name!r}"))


def _refused(path: Path, why: str) -> str:
    return (
        f"tuning table {str(path)!r} is not used, and kernels run in their default schedules: "
        f"{why}; measure again with 'cotenant tune'"
    )
