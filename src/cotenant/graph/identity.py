"""A model's reference goes in; what its graph is known by comes out, remembered from run to run.

A file has to be read for it, which takes longer than to predict what the model will do. So what
was found is kept in the cache beside the file's size and time of change, as `make` and `git` do;
a file that has another one is read again.
"""

import contextlib
import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cotenant.graph.cache import cache_folder

_MEMORY = "graphs.json"


class _Known(NamedTuple):
    path: str
    size_bytes: int
    changed_ns: int
    digest: str

    @property
    def holds(self) -> bool:
        """Whether the file is still the one that was read."""
        try:
            stat = Path(self.path).stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size_bytes, self.changed_ns)


def graph_hash(reference: str) -> str:
    """SHA-256 of a model's graph and of the shapes of its weights.

    The values of large weights do not count: they do not change how long it takes, and a
    model that was trained further keeps its profile.

    Raises:
        ModelError: the model file cannot be found or read.
    """
    kind = reference.partition(":")[0]
    named = kind in ("zoo", "python")
    key = reference if named else str(Path(reference).expanduser().absolute())
    memory = _memory(cache_folder())
    known = memory.get(key)
    if known is None or not known.holds:
        known = memory[key] = _read(reference)
        _keep(cache_folder(), memory)
    return known.digest


def _read(reference: str) -> _Known:
    # Imported here, since these take a third of the time that `cotenant predict` may take.
    from cotenant.graph.load import resolve_model  # noqa: PLC0415
    from cotenant.graph.read import read_model  # noqa: PLC0415

    path = resolve_model(reference).absolute()
    if not path.exists():
        read_model(path)  # says what is wrong
    stat = path.stat()  # before it is read: a file that changes meanwhile is read again
    skeleton = read_model(path)
    digest = hashlib.sha256(skeleton.model.SerializeToString(deterministic=True))
    for payload in skeleton.payloads:
        digest.update(payload.tensor.SerializeToString(deterministic=True))
    return _Known(str(path), stat.st_size, stat.st_mtime_ns, digest.hexdigest())


@lru_cache(maxsize=8)
def _memory(folder: Path) -> dict[str, _Known]:
    try:
        noted = json.loads((folder / _MEMORY).read_text(encoding="utf-8"))
        return {str(key): _Known(*known) for key, known in noted.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # nothing noted yet, or nothing that can be used


def _keep(folder: Path, memory: dict[str, _Known]) -> None:
    partial = folder / f".{_MEMORY}.{os.getpid()}"
    # Where it cannot be kept, the next run reads again.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(memory), encoding="utf-8")
        partial.replace(folder / _MEMORY)
