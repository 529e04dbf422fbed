"""Model references go in; folders of compiled bundles come out, made first where they are not.

A bundle is kept under the hash of its model and of the compiler that made it, so that a bundle
of another compiler is another bundle.
"""

import hashlib
import importlib
from collections.abc import Callable, Iterable
from pathlib import Path

import cotenant.compiler
from cotenant.bench.scenarios import Scenario
from cotenant.compiler.assembly import AssemblyCache
from cotenant.compiler.bundle import Assemble, write_bundle
from cotenant.compiler.program import Target, parse_target
from cotenant.compiler.unit import UnitCache
from cotenant.core.errors import CotenantError, ModelError, Unsupported
from cotenant.device.bundle import read_bundle
from cotenant.device.contents import SUFFIX, is_bundle
from cotenant.device.cuda.nvrtc import available
from cotenant.graph.cache import cache_folder
from cotenant.graph.load import check_model, resolve_model

Tell = Callable[[str, int, int], None]
"""What is being done, and how much of how much of it is."""


def models_of(scenarios: Iterable[Scenario]) -> tuple[str, ...]:
    """References of all models of these scenarios, each once."""
    return tuple(
        dict.fromkeys(task.model for scenario in scenarios for task in scenario.workload.tasks)
    )


def found_bundle(model: str, folder: Path, target: str) -> Path:
    """The bundle of a zoo model in the user's own folder of bundles.

    Raises:
        ModelError: it is not there, or is no bundle for this target.
    """
    path = folder / model.removeprefix("zoo:")
    if not path.exists() and (zipped := path.with_name(path.name + SUFFIX)).is_file():
        path = zipped
    if not is_bundle(path):
        raise ModelError(
            f"there is no bundle {str(path)!r} of {model!r}; make it with: "
            f"cotenant compile {model} --target {target} -o {path}"
        )
    read_bundle(path, target.partition(":")[0])
    return path


def require_compiler() -> None:
    """Whether there is a compiler at all.

    Raises:
        Unsupported: it is not installed.
    """
    try:
        importlib.import_module("cotenant.compiler.lower")
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"compiling needs {error.name!r}, which is not installed; run: "
            "pip install 'cotenant[compile]', or name a folder of bundles with --bundles"
        ) from error


def made_bundle(model: str, target: str, tell: Tell) -> Path:
    """The bundle of a model in the cache; it is compiled first if it is not there.

    Raises:
        CotenantError: the model cannot be compiled; the message says why.
    """
    path = resolve_model(model)
    check_model(path)
    chosen = parse_target(target)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    key = hashlib.sha256(f"{digest} {chosen} {_compiler_digest()}".encode()).hexdigest()[:16]
    folder = cache_folder() / "bundles" / f"{model.removeprefix('zoo:')}-{key}"
    if _whole(folder, chosen):
        return folder
    lower = importlib.import_module("cotenant.compiler.lower").lower
    cache = UnitCache(cache_folder() / "kernels")
    program = lower(path, chosen, shapes={}, batch=1, cache=cache, tell=tell)
    write_bundle(program, f"{model} sha256:{digest}", chosen, folder, assembler(chosen))
    return folder


def assembler(target: Target) -> Assemble | None:
    """What makes PTX for a target that has it, if it is installed; a device may do it, too."""
    architecture = target.architecture
    if architecture is None or not available():
        return None
    cache = AssemblyCache(cache_folder() / "ptx")
    return lambda source, name: cache.assemble(source, name, architecture)


def _whole(folder: Path, target: Target) -> bool:
    try:
        read_bundle(folder, str(target).partition(":")[0])
    except CotenantError:
        return False
    return True


def _compiler_digest() -> str:
    sources = sorted(Path(cotenant.compiler.__path__[0]).glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
