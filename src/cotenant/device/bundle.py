"""A folder or zip that the compiler wrote goes in; a checked `Bundle`, ready to run, comes out.

    manifest.json        readable: steps, kernels, places in the arena, hashes, versions
    kernels/NAME.cl|.cu  source of each kernel with its elastic forms
    kernels/NAME.ptx     the same compiled, for CUDA where it could be made
    kernels/NAME.VARIANT.cl|.cu|.ptx   another schedule of that kernel, likewise
    weights.safetensors  constants, in the standard format of that name

The manifest holds the hash of every other file, and its own. A bundle that was edited, that
is for another target, or that a newer version wrote is refused before anything is built.
Version 2 brought variants and stages. `tuning.json`, which is made on the device, is no part of
what is sealed; `device/tuning.py` reads it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from cotenant.core.errors import ModelError
from cotenant.device import contents as stored
from cotenant.device.contents import Contents, open_contents
from cotenant.device.stages import check_stages

_EXAMPLES = {"cuda": "cuda:sm_87, or what 'cotenant devices' shows"}
"""Kinds of which a target says more."""

FORMAT = "cotenant-bundle"
VERSION = 3
MANIFEST = stored.MANIFEST
WEIGHTS = "weights.safetensors"

Array = npt.NDArray[np.generic]
Triple = tuple[int, int, int]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tensor(_Frozen):
    """An input or output of the model, and the value that holds it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    value: str


class Place(_Frozen):
    """Where a value lies in the arena."""

    offset_bytes: int
    size_bytes: int


class Resources(_Frozen):
    """What one form of a kernel needs of a multiprocessor."""

    registers: int
    shared_bytes: int


class Schedule(_Frozen):
    """One way to run a kernel: its source, its launch, and how far it can be held back."""

    source: str
    grid: Triple
    block: Triple
    shared_bytes: int
    rung: Literal["preemptive", "unmodified"]
    reason: str | None
    """Why it is unmodified."""
    ptx: str | None
    """File of the compiled form, for CUDA where it could be made."""
    resources: dict[str, Resources]
    """Of each form, where the compiler has told."""
    occupancy: float | None = None
    """Part of a multiprocessor's threads that the plain form can fill, where it is known."""

    @property
    def tiles(self) -> int:
        x, y, z = self.grid
        return x * y * z


class Kernel(Schedule):
    """A kernel in its default schedule, with others that may stand for it."""

    variants: dict[str, Schedule] = {}
    """They take the same arguments in the same order, and give the same results."""


class Step(_Frozen):
    """One launch, with the values that are its arguments."""

    kernel: str
    arguments: tuple[str, ...]
    stage: int
    """Steps of one stage do not depend on each other."""


class Manifest(_Frozen):
    """What manifest.json holds."""

    format: Literal["cotenant-bundle"]
    version: Literal[3]
    target: str
    model: str
    """Name and hash of the model file."""
    versions: dict[str, str]
    """Of what wrote the bundle."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    arena_bytes: int
    places: dict[str, Place]
    kernels: dict[str, Kernel]
    steps: tuple[Step, ...]
    files: dict[str, str]
    """SHA-256 of every other file."""


class Code(NamedTuple):
    """A kernel's text with its elastic forms."""

    source: str
    ptx: bytes | None = None
    """The same compiled, for CUDA where it was made."""


class Bundle(NamedTuple):
    """A bundle in memory; its weights are mapped from the disk."""

    folder: Path
    """Or the zip."""
    manifest: Manifest
    sources: Mapping[str, str]
    """Source text of each kernel."""
    variant_sources: Mapping[str, Mapping[str, str]]
    """Source text of each variant, by kernel and by the variant's name."""
    weights: Mapping[str, Array]
    sha256: str
    """Of the manifest, and so of all that is in it."""
    assemblies: Mapping[str, bytes]
    """PTX by the name of its file."""

    def code(self, kernel: str, variant: str | None = None) -> Code:
        """Of a kernel in its default schedule, or in that of a variant."""
        about = self.manifest.kernels[kernel]
        if variant is None:
            return Code(self.sources[kernel], self.assemblies.get(about.ptx or ""))
        ptx = self.assemblies.get(about.variants[variant].ptx or "")
        return Code(self.variant_sources[kernel][variant], ptx)


def seal(content: Mapping[str, Any]) -> str:
    """The text of a manifest, with its own hash as the last field."""
    sealed = {**content, "sha256": digest(content)}
    return json.dumps(sealed, indent=2, ensure_ascii=False) + "\n"


def read_bundle(folder: Path, target: str) -> Bundle:
    """Read and check a bundle.

    Args:
        folder: what `cotenant compile` wrote, or a zip of it.
        target: the kind that the device runs: 'opencl', or 'cuda' for any architecture.

    Raises:
        ModelError: it is not there, was edited, is for another target or from a newer version.
    """
    with open_contents(folder) as files:
        return _read(folder, files, target)


def bundle_kind(folder: Path) -> str | None:
    """The kind of device that a bundle is for; `None` where its manifest cannot be read."""
    try:
        with open_contents(folder) as files:
            manifest, _ = _manifest(folder, files)
    except ModelError:
        return None
    return manifest.target.partition(":")[0]


def _read(folder: Path, files: Contents, target: str) -> Bundle:
    manifest, sha256 = _manifest(folder, files)
    if manifest.target.partition(":")[0] != target:
        raise ModelError(
            f"bundle {str(folder)!r} is for {manifest.target!r}, and this device runs "
            f"{target!r}; compile it again with --target {_EXAMPLES.get(target, target)}"
        )
    contents = {
        name: _content(folder, files, name, noted) for name, noted in manifest.files.items()
    }
    _consistent(folder, manifest)
    return Bundle(
        folder,
        manifest,
        {name: contents[one.source].decode() for name, one in manifest.kernels.items()},
        {
            kernel: {name: contents[each.source].decode() for name, each in one.variants.items()}
            for kernel, one in manifest.kernels.items()
        },
        _weights(folder, contents[WEIGHTS]),
        sha256,
        {each.ptx: contents[each.ptx] for each in _schedules(manifest) if each.ptx is not None},
    )


def _manifest(folder: Path, files: Contents) -> tuple[Manifest, str]:
    path = folder / MANIFEST
    try:
        noted = json.loads(files.read(MANIFEST).decode())
    except OSError as error:
        raise ModelError(
            f"{str(folder)!r} is no bundle: {MANIFEST} cannot be read ({error.strerror}); "
            "name the folder that 'cotenant compile' wrote, or its zip"
        ) from error
    except ValueError as error:
        raise ModelError(_damaged(folder, MANIFEST, "it is not JSON")) from error
    if not isinstance(noted, dict) or noted.get("format") != FORMAT:
        raise ModelError(f"{str(path)!r} is no manifest of a bundle; check the path")
    version = noted.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ModelError(
            f"bundle {str(folder)!r} has version {version}, and this installation reads up to "
            f"{VERSION}; upgrade cotenant, or compile the model again here"
        )
    if version < VERSION:
        raise ModelError(
            f"bundle {str(folder)!r} has version {version}, whose kernels pause in another way "
            f"than this installation's, {VERSION}; compile the model again here"
        )
    sha256 = noted.pop("sha256", None)
    if sha256 != digest(noted):
        raise ModelError(_damaged(folder, MANIFEST, "its hash is another one"))
    try:
        return Manifest.model_validate(noted), str(sha256)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(_damaged(folder, MANIFEST, f"{where}: {first['msg']}")) from error


def _content(folder: Path, files: Contents, name: str, noted: str) -> bytes:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ModelError(_damaged(folder, name, "it lies outside of the bundle"))
    try:
        content = files.read(name)
    except OSError as error:
        raise ModelError(_damaged(folder, name, error.strerror or "cannot be read")) from error
    if hashlib.sha256(content).hexdigest() != noted:
        raise ModelError(_damaged(folder, name, "its hash is another one"))
    return content


def _consistent(folder: Path, manifest: Manifest) -> None:
    schedules = _schedules(manifest)
    named = {WEIGHTS, *(name for each in schedules for name in (each.source, each.ptx) if name)}
    missing = named - set(manifest.files)
    if missing:
        raise ModelError(_damaged(folder, min(missing), "the manifest has no hash of it"))
    for step in manifest.steps:
        if step.kernel not in manifest.kernels:
            raise ModelError(_damaged(folder, MANIFEST, f"it has no kernel {step.kernel!r}"))
    fault = check_stages([step.stage for step in manifest.steps])
    if fault is not None:
        raise ModelError(_damaged(folder, MANIFEST, fault))
    for name, place in manifest.places.items():
        if place.offset_bytes < 0 or place.offset_bytes + place.size_bytes > manifest.arena_bytes:
            raise ModelError(_damaged(folder, MANIFEST, f"value {name!r} leaves the arena"))


def _schedules(manifest: Manifest) -> list[Schedule]:
    return [each for one in manifest.kernels.values() for each in (one, *one.variants.values())]


def _weights(folder: Path, content: bytes) -> dict[str, Array]:
    """Tensors of a safetensors file: a length, a JSON header, and the values one by one."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    tensors: dict[str, Array] = {}
    for name, about in header.items():
        begin, end = (8 + length + offset for offset in about["data_offsets"])
        if about["dtype"] not in DTYPES:
            raise ModelError(_damaged(folder, WEIGHTS, f"{name!r} has type {about['dtype']}"))
        flat = np.frombuffer(content[begin:end], DTYPES[about["dtype"]])
        tensors[name] = flat.reshape(about["shape"])
    return tensors


def _damaged(folder: Path, name: str, what: str) -> str:
    return (
        f"{name!r} of bundle {str(folder)!r} was edited or damaged: {what}; compile the model again"
    )


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of JSON, however it is laid out."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


DTYPES: Mapping[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
"""Names of the safetensors format, and numpy's."""
