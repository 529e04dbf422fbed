"""A path and a way to write it go in; a file that is whole and proven by its hash comes out.

A file is written beside its place, flushed to the disk, and renamed, so that a reader never
sees half of one, whatever is killed and whenever. Its SHA-256 lies beside it in the format
of `sha256sum`; a file that no longer has that hash is made again. One lock for each file keeps
two writers apart, and the kernel lets go of it when its holder dies.
"""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from cotenant.core.errors import CotenantError
from cotenant.core.units import format_bytes

_VARIABLE = "COTENANT_CACHE"


class Sink(Protocol):
    """Something that takes bytes."""

    def write(self, content: bytes, /) -> object: ...


def cache_folder() -> Path:
    """Where derived files are kept: $COTENANT_CACHE, or the user's cache folder."""
    if chosen := os.environ.get(_VARIABLE):
        return Path(chosen).expanduser()
    user = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification asks to ignore a relative path.
    root = Path(user) if user and os.path.isabs(user) else Path("~/.cache").expanduser()
    return root / "cotenant"


def keep(path: Path, size_bytes: int, write: Callable[[Sink], None]) -> Path:
    """Return `path`, written by `write` first unless it is there and undamaged.

    Raises:
        CotenantError: the folder is full, read-only or not a folder.
    """
    if intact(path):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            if not intact(path):
                _replace(path, write)
    except OSError as error:
        raise _explained(error, path, size_bytes) from error
    return path


def intact(path: Path) -> bool:
    """Whether the file is there and has the hash that was noted when it was written."""
    try:
        noted = _note(path).read_text(encoding="utf-8").split(maxsplit=1)
        with path.open("rb") as stored:
            return noted[:1] == [hashlib.file_digest(stored, "sha256").hexdigest()]
    except (OSError, UnicodeDecodeError):
        return False


class _Hashing:
    """A sink that hashes what it passes on."""

    def __init__(self, stored: BinaryIO) -> None:
        self._stored = stored
        self._hash = hashlib.sha256()

    def write(self, content: bytes, /) -> None:
        self._hash.update(content)
        self._stored.write(content)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(path.name + ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(path: Path, write: Callable[[Sink], None]) -> None:
    # The lock is held, so the names need not be unique, and what a killed writer left behind
    # is overwritten here.
    partial = path.with_name(path.name + ".partial")
    partial_note = _note(partial)
    try:
        with partial.open("wb") as stored:
            hashing = _Hashing(stored)
            write(hashing)
            _flush(stored)
        with partial_note.open("wb") as noted:
            noted.write(f"{hashing.hexdigest()}  {path.name}\n".encode())
            _flush(noted)
        partial.replace(path)
        partial_note.replace(_note(path))
    except BaseException:
        partial.unlink(missing_ok=True)
        partial_note.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _flush(stored: BinaryIO) -> None:
    stored.flush()
    os.fsync(stored.fileno())


def _explained(error: OSError, path: Path, size_bytes: int) -> CotenantError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CotenantError(
            f"no room for {path.name!r} in {str(path.parent)!r}: it needs "
            f"{format_bytes(size_bytes)} ({size_bytes} bytes); free some space there, or set "
            f"${_VARIABLE} to a folder that has it"
        )
    return CotenantError(
        f"cannot keep {path.name!r} in {str(path.parent)!r}: {error.strerror or error}; "
        f"set ${_VARIABLE} to a folder that can be written"
    )
