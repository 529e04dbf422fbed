"""A lowered program goes in; a bundle that runs without the compiler comes out.

It is a folder, or one zip of it where its name ends in '.zip'.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cotenant import __version__
from cotenant.compiler.arena import plan_arena
from cotenant.compiler.elastic import Elastic, ElasticSource, make_elastic
from cotenant.compiler.nvrtc import Assembled, Resources
from cotenant.compiler.occupancy import Need, limits_of, occupancy
from cotenant.compiler.pack import holds_bundle, pack
from cotenant.compiler.program import Array, Kernel, Program, Target, Variant
from cotenant.compiler.score import leaves_room
from cotenant.compiler.stages import staged
from cotenant.core.errors import ModelError
from cotenant.core.model import TensorSpec
from cotenant.device.bundle import DTYPES, FORMAT, MANIFEST, VERSION, WEIGHTS, seal
from cotenant.device.contents import SUFFIX
from cotenant.device.tuning import keep_table

_NAMES = {np.dtype(numpy_name): name for name, numpy_name in DTYPES.items()}


Assemble = Callable[[str, str], Assembled]
"""Source and name of a kernel go in; several threads call it."""


def write_bundle(
    program: Program, model: str, target: Target, folder: Path, assemble: Assemble | None = None
) -> dict[str, Elastic]:
    """Write a bundle; what became of each kernel is returned.

    With `assemble`, each kernel's PTX and its resources are in it, too.

    It is written beside its place and renamed, so that there is never half of one. A bundle
    that is there is replaced, and its tuning table kept if nothing else has changed; a folder
    with anything else in it is not replaced.

    Raises:
        ModelError: the folder is there and is no bundle, or cannot be written.
    """
    if folder.suffix == SUFFIX:
        return _write_zip(program, model, target, folder, assemble)
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise ModelError(f"{str(folder)!r} is there and is no bundle; name another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            outcome = _write(program, model, target, partial, assemble)
            partial.chmod(0o755)
            keep_table(folder, partial)
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return outcome


def _write_zip(
    program: Program, model: str, target: Target, file: Path, assemble: Assemble | None
) -> dict[str, Elastic]:
    """The same for a zip: what is there is replaced only if it is a zip of a bundle."""
    if file.is_symlink() or (file.exists() and not holds_bundle(file, FORMAT)):
        raise ModelError(f"{str(file)!r} is there and is no zip of a bundle; name another file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as beside:
            whole, zipped = Path(beside) / "bundle", Path(beside) / file.name
            outcome = write_bundle(program, model, target, whole, assemble)
            pack(whole, zipped)
            zipped.replace(file)
    except OSError as error:
        raise _cannot_write(file, error) from error
    return outcome


def _cannot_write(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"cannot write bundle {str(path)!r}: {error.strerror or error}; "
        "free some space, or name a folder that can be written"
    )


def _write(
    program: Program, model: str, target: Target, folder: Path, assemble: Assemble | None
) -> dict[str, Elastic]:
    outcome: dict[str, Elastic] = {}
    kernels: dict[str, object] = {}
    files: dict[str, str] = {}
    limits = limits_of(target.architecture)

    def keep(name: str, content: bytes) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        files[name] = hashlib.sha256(content).hexdigest()

    stems = {kernel.name: kernel for kernel in program.kernels} | {
        _stem(variant): variant.kernel for variant in program.variants
    }
    made = dict(zip(stems, _made(stems.values(), target, assemble), strict=True))

    def schedule(kernel: Kernel, stem: str) -> dict[str, object] | None:
        """What the manifest says of it; `None` for a variant that is too large, or less elastic."""
        found = made[stem]
        if isinstance(found, ModelError):
            raise found
        elastic, assembled = found
        one = next(one for one in elastic.kernels if one.kernel == kernel.name)
        used = assembled.resources if assembled else {}
        if stem == kernel.name:
            outcome[kernel.name] = one
        elif one.rung is not outcome[kernel.name].rung or not all(
            leaves_room(_need(kernel, each), limits) for each in used.values() or (None,)
        ):
            return None
        source = f"kernels/{stem}.{target.language.value}"
        keep(source, elastic.text.encode())
        ptx = f"kernels/{stem}.ptx" if assembled else None
        if assembled and ptx:
            keep(ptx, assembled.ptx)
        return {
            "source": source,
            "grid": list(kernel.grid),
            "block": list(kernel.block),
            "shared_bytes": kernel.shared_bytes,
            "rung": one.rung.value,
            "reason": one.reason,
            "ptx": ptx,
            "resources": {form: each._asdict() for form, each in used.items()},
            "occupancy": round(occupancy(_need(kernel, used[kernel.name]), limits), 4)
            if kernel.name in used
            else None,
        }

    def other(variant: Variant) -> dict[str, object] | None:
        try:
            return schedule(variant.kernel, _stem(variant))
        except ModelError:  # the default does as well
            return None

    for kernel in program.kernels:
        entry = schedule(kernel, kernel.name) or {}
        variants = {
            variant.name: other(variant)
            for variant in program.variants
            if variant.of == kernel.name
        }
        entry["variants"] = {name: one for name, one in variants.items() if one is not None}
        kernels[kernel.name] = entry
    keep(WEIGHTS, _safetensors(program.constants))
    arena = plan_arena(program)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "target": str(target),
        "model": model,
        "versions": {"cotenant": __version__, "compiler": program.compiler},
        "inputs": _tensors(program.inputs, program.input_values),
        "outputs": _tensors(program.outputs, program.output_values),
        "arena_bytes": arena.size_bytes,
        "places": {name: place._asdict() for name, place in sorted(arena.places.items())},
        "kernels": kernels,
        "steps": [
            {"kernel": step.kernel, "arguments": list(step.arguments), "stage": stage}
            for step, stage in staged(program)
        ],
        "files": files,
    }
    (folder / MANIFEST).write_text(seal(manifest), encoding="utf-8")
    return outcome


class _Made(NamedTuple):
    elastic: ElasticSource
    assembled: Assembled | None


def _made(
    kernels: Iterable[Kernel], target: Target, assemble: Assemble | None
) -> Iterator[_Made | ModelError]:
    """All forms of each kernel, or why there are none; a compiler is busy on each core."""

    def make(kernel: Kernel) -> _Made | ModelError:
        try:
            elastic = make_elastic(kernel.source, target.language, {kernel.name: kernel.grid})
            return _Made(elastic, assemble(elastic.text, kernel.name) if assemble else None)
        except ModelError as error:
            return error

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(make, kernels)


def _stem(variant: Variant) -> str:
    """Of the names of its files."""
    return f"{variant.of}.{variant.name}"


def _need(kernel: Kernel, used: Resources | None) -> Need:
    return Need(
        blocks=math.prod(kernel.grid),
        threads=math.prod(kernel.block),
        shared_bytes=kernel.shared_bytes + (used.shared_bytes if used else 0),
        registers=used.registers if used else None,
    )


def _tensors(specs: tuple[TensorSpec, ...], values: tuple[str, ...]) -> list[dict[str, object]]:
    return [
        {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape), "value": value}
        for spec, value in zip(specs, values, strict=True)
    ]


def _safetensors(tensors: Mapping[str, Array]) -> bytes:
    header, offset = {}, 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise ModelError(f"a constant has type {tensor.dtype}, which a bundle cannot hold")
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format asks for values that start aligned
    return b"".join(
        (len(text).to_bytes(8, "little"), text, *map(np.ndarray.tobytes, tensors.values()))
    )
