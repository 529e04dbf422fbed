"""A path goes in; the files of the bundle there come out by name, from a folder or from one zip.

Nothing of a zip is ever unpacked to the disk, and its entries are stored, not compressed: an
entry is never larger than the file that it lies in. What the directory says is checked before
anything is read, since a zip may come from anywhere.
"""

import zipfile
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self

from cotenant.core.errors import ModelError

MANIFEST = "manifest.json"
SUFFIX = ".zip"
"""By this ending the compiler knows that one file is wanted; a reader looks into the file."""

_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 1
_AGAIN = "compile the model again, or copy it here again"
# What `zipfile` raises on a directory that makes no sense.
_MALFORMED = (
    zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError, RuntimeError, ValueError
)  # fmt: skip


class Contents(Protocol):
    """The files of one bundle; to be closed by leaving its `with` block."""

    def read(self, name: str) -> bytes:
        """A whole file.

        Raises:
            OSError: it is not there, or cannot be read.
            ModelError: the zip is damaged where it lies.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


def is_bundle(path: Path) -> bool:
    """Whether a path looks like a bundle: a folder with a manifest, or any zip."""
    try:
        if not path.is_file():  # nor a pipe, which would keep its reader waiting
            return (path / MANIFEST).is_file()
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):
        return False


def open_contents(path: Path) -> Contents:
    """Open a bundle in either form.

    Raises:
        ModelError: it is a file and no zip, or a zip that is damaged or unsafe.
    """
    return _Zip(path) if path.is_file() else _Folder(path)


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        """Nothing is held open."""


class _Zip:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except OSError as error:
            raise ModelError(
                f"bundle {str(path)!r} cannot be read: {error.strerror or error}; check the path"
            ) from error
        except _MALFORMED as error:
            raise ModelError(
                f"{str(path)!r} is no whole zip ({error}), so it is no bundle or was cut short; "
                f"{_AGAIN}"
            ) from error
        try:
            self._check()
        except ModelError:
            self._archive.close()
            raise

    def read(self, name: str) -> bytes:
        try:
            entry = self._archive.getinfo(name)
        except KeyError:
            raise FileNotFoundError(2, "No such file in the zip") from None
        try:
            return self._archive.read(entry)
        except (*_MALFORMED, OSError) as error:
            raise ModelError(
                f"{name!r} of bundle {str(self._path)!r} is damaged: {error}; {_AGAIN}"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        self._archive.close()

    def _check(self) -> None:
        entries, has_bytes = self._archive.infolist(), self._path.stat().st_size
        seen: set[str] = set()
        for entry in entries:
            name = entry.filename
            if _leaves(name):
                raise self._unsafe(name, "it would lie outside of the bundle")
            if name in seen:
                raise self._unsafe(name, "it is there twice")
            seen.add(name)
            if entry.flag_bits & _ENCRYPTED:
                raise self._unsafe(name, "it is encrypted")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise self._unsafe(name, "it is compressed; pack the folder with: zip -0 -r")
        claimed_bytes = sum(entry.file_size for entry in entries)
        if claimed_bytes > has_bytes:
            raise ModelError(
                f"bundle {str(self._path)!r} has {has_bytes} bytes, and its directory claims "
                f"files of {claimed_bytes}; it is damaged or made to do harm; {_AGAIN}"
            )

    def _unsafe(self, name: str, why: str) -> ModelError:
        return ModelError(f"{name!r} of bundle {str(self._path)!r} is not read: {why}; or {_AGAIN}")


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name
