"""A zip of a bundle: equal bytes for equal input, never half of one, and nothing else replaced."""

import zipfile
from pathlib import Path

import pytest

from cotenant.compiler import bundle as bundle_file
from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import Program, parse_target
from cotenant.core.errors import ModelError
from cotenant.device.bundle import MANIFEST, read_bundle
from tests.compiler.kernels import scale_program

OPENCL = parse_target("opencl")


def written(path: Path, model: str = "hand", program: Program | None = None) -> Path:
    write_bundle(program or scale_program(), model, OPENCL, path)
    return path


def test_a_zip_holds_what_the_folder_holds(tmp_path: Path) -> None:
    folder, file = written(tmp_path / "folder"), written(tmp_path / "file.zip")
    one, other = read_bundle(folder, "opencl"), read_bundle(file, "opencl")
    assert one.manifest == other.manifest
    assert one.sources == other.sources
    assert one.weights["w"].tobytes() == other.weights["w"].tobytes()
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    assert names[0] == MANIFEST
    assert set(names) == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    one, other = written(tmp_path / "a.zip"), written(tmp_path / "elsewhere" / "b.zip")
    assert one.read_bytes() == other.read_bytes()
    assert written(tmp_path / "c.zip", "another").read_bytes() != one.read_bytes()


def test_a_zip_packed_by_hand_is_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:  # as 'zip -0 -r' does it
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(folder))
    assert read_bundle(tmp_path / "own.zip", "opencl").manifest.model == "hand"


def test_a_bundle_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    file = written(tmp_path / "model.zip")
    written(file, "again")
    assert read_bundle(file, "opencl").manifest.model == "again"
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]
    notes = tmp_path / "notes.zip"
    notes.write_text("no zip")
    photos = tmp_path / "photos.zip"
    with zipfile.ZipFile(photos, "w") as archive:
        archive.writestr("a.jpg", b"a")
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr(MANIFEST, b'{"format": "other"}')
    link = tmp_path / "link.zip"
    link.symlink_to(file)
    (tmp_path / "folder.zip").mkdir()
    for other in (notes, photos, foreign, link, tmp_path / "folder.zip"):
        before = other.read_bytes() if other.is_file() else None
        with pytest.raises(ModelError, match="is no zip of a bundle; name another file"):
            written(other)
        assert (other.read_bytes() if other.is_file() else None) == before


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "model.zip")
    before = file.read_bytes()

    def full(folder: Path, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_file, "pack", full)
    with pytest.raises(ModelError, match="No space left on device; free some space"):
        written(file, "again")
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]
