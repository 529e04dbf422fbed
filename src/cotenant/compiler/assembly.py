"""The source of a kernel goes in; its PTX and resources come out, from a file the second time."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from cotenant.compiler.nvrtc import Assembled, Resources, assemble
from cotenant.device.cuda.nvrtc import options, version

_HEADERS = 1  # raise it when the headers that stand in for libcu++ come to mean something else


class AssemblyCache:
    """Keeps PTX in a folder, by the hash of all that it depends on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def assemble(self, source: str, name: str, architecture: str) -> Assembled:
        """Compile, unless a whole file of an earlier time is there.

        Raises:
            Unsupported: NVRTC is not installed.
            ModelError: the source does not compile; the compiler's log is in the message.
        """
        key = (version(architecture), _HEADERS, *options(architecture), name, source)
        path = self._folder / f"{_digest(map(str, key))}.json"
        try:
            return _read(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            assembled = assemble(source, name, architecture)
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{id(assembled)}.partial")
        partial.write_text(_written(assembled), encoding="utf-8")
        partial.replace(path)
        return assembled


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _written(assembled: Assembled) -> str:
    resources = {name: one._asdict() for name, one in assembled.resources.items()}
    return json.dumps({"ptx": assembled.ptx.decode(), "resources": resources})


def _read(text: str) -> Assembled:
    noted = json.loads(text)
    return Assembled(
        noted["ptx"].encode(),
        {name: Resources(**one) for name, one in noted["resources"].items()},
    )
