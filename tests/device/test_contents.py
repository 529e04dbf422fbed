"""Zips that are cut, bent or made to do harm: each is refused with what is wrong, and unread."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import parse_target
from cotenant.core.errors import CotenantError, ModelError
from cotenant.core.task import Task
from cotenant.device.bundle import MANIFEST, WEIGHTS, read_bundle
from cotenant.device.contents import is_bundle
from cotenant.graph.paths import model_files
from cotenant.runtime.hardware import housed
from tests.compiler.kernels import scale_program

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("zip") / "model.zip"
    write_bundle(scale_program(), "hand", parse_target("opencl"), file)
    return file.read_bytes()


def refusal(content: bytes, folder: Path) -> str:
    file = folder / "bent.zip"
    file.write_bytes(content)
    with pytest.raises(ModelError) as raised:
        read_bundle(file, "opencl")
    assert str(file) in str(raised.value)
    return str(raised.value)


def renamed(content: bytes, old: str, new: str) -> bytes:
    """In the entry and in the directory; both names have the same length."""
    assert len(old) == len(new)
    assert content.count(old.encode()) >= 2
    for mark, behind in ((LOCAL, 30), (CENTRAL, 46)):
        at = 0
        while (at := content.find(mark, at)) >= 0:
            if content[at + behind :].startswith(old.encode()):
                content = content[: at + behind] + new.encode() + content[at + behind + len(old) :]
            at += 1
    return content


def field(content: bytes, at: int, form: str, value: int) -> bytes:
    return content[:at] + struct.pack(form, value) + content[at + struct.calcsize(form) :]


def directory(content: bytes, name: str) -> int:
    """Where the directory's record of an entry begins."""
    at = content.find(CENTRAL)
    while not content[at + 46 :].startswith(name.encode()):
        at = content.index(CENTRAL, at + 1)
    return at


@pytest.mark.parametrize(
    "name",
    [
        "../../weights.tensor",
        "/tmp/weights.tensors",
        "a/../../weights.tens",
        "..\\..\\weights.tens",
    ],
)
def test_names_that_leave_the_bundle(name: str, whole: bytes, tmp_path: Path) -> None:
    name = name[: len(WEIGHTS)].ljust(len(WEIGHTS), "x")
    told = refusal(renamed(whole, WEIGHTS, name), tmp_path)
    assert "it would lie outside of the bundle" in told
    assert [path.name for path in tmp_path.iterdir()] == ["bent.zip"]


def test_the_same_name_twice(whole: bytes, tmp_path: Path) -> None:
    bent = renamed(whole, "kernels/scale.cl", "kernels/waits.cl")
    assert "'kernels/waits.cl'" in refusal(bent, tmp_path)
    assert "it is there twice" in refusal(bent, tmp_path)


def test_a_bomb_is_told_by_its_directory(whole: bytes, tmp_path: Path) -> None:
    at = directory(whole, WEIGHTS)
    bent = whole
    for size in (20, 24):  # packed and unpacked
        bent = field(bent, at + size, "<I", 0xFFFFFFF0)
    assert "its directory claims files of" in refusal(bent, tmp_path)
    told = refusal(field(whole, at + 24, "<I", 0xFFFFFFF0), tmp_path)
    assert "pack the folder with: zip -0 -r" in told


def test_entries_that_overlap_claim_more_than_there_is(tmp_path: Path) -> None:
    file = tmp_path / "overlap.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MANIFEST, b" " * 4096)
        for number in range(40):
            archive.writestr(f"k{number:02}", b"")
    content = file.read_bytes()
    for number in range(40):
        at = directory(content, f"k{number:02}")
        for size in (20, 24):
            content = field(content, at + size, "<I", 4096)
        content = field(content, at + 42, "<I", 0)
    assert "its directory claims" in refusal(content, tmp_path)


def test_compressed_and_encrypted_entries(whole: bytes, tmp_path: Path) -> None:
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, b"0" * 1_000_000)
    assert "it is compressed" in refusal(packed.read_bytes(), tmp_path)
    at = directory(whole, WEIGHTS)
    assert "it is encrypted" in refusal(field(whole, at + 8, "<H", 1), tmp_path)
    assert "it is compressed" in refusal(field(whole, at + 10, "<H", 99), tmp_path)


def test_no_manifest_and_missing_files(whole: bytes, tmp_path: Path) -> None:
    told = refusal(renamed(whole, MANIFEST, "manifest.jsom"), tmp_path)
    assert "is no bundle: manifest.json cannot be read (No such file in the zip)" in told
    told = refusal(renamed(whole, WEIGHTS, WEIGHTS[::-1]), tmp_path)
    assert "No such file in the zip; compile the model again" in told


def test_what_is_no_zip(tmp_path: Path) -> None:
    assert "is no whole zip" in refusal(b"", tmp_path)
    assert "is no whole zip" in refusal(b"PK\x03\x04 and then nothing", tmp_path)
    assert "is no whole zip" in refusal(b"\x08\x07onnx", tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_cut_is_noticed(data: st.DataObject, whole: bytes, tmp_path: Path) -> None:
    refusal(whole[: data.draw(st.integers(0, len(whole) - 1))], tmp_path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_bytes_change_nothing_or_are_noticed(
    data: st.DataObject, whole: bytes, tmp_path: Path
) -> None:
    """Times and attributes of entries mean nothing to a reader; all else does."""
    bent = bytearray(whole)
    directory_at = whole.index(CENTRAL)
    for _ in range(data.draw(st.integers(1, 4))):
        where = st.integers(0, len(whole) - 1) | st.integers(directory_at, len(whole) - 1)
        bent[data.draw(where)] = data.draw(st.integers(0, 255))
    file = tmp_path / "bent.zip"
    file.write_bytes(whole)
    wanted = read_bundle(file, "opencl")
    file.write_bytes(bent)
    try:
        found = read_bundle(file, "opencl")
    except ModelError:
        return
    assert found.manifest == wanted.manifest
    assert found.sources == wanted.sources
    assert found.weights["w"].tobytes() == wanted.weights["w"].tobytes()


@pytest.mark.parametrize("form", ["folder", "file.zip", "no-suffix"])
def test_both_forms_are_known_as_bundles_and_nothing_else_is(form: str, tmp_path: Path) -> None:
    path = tmp_path / form
    named = tmp_path / "named.zip" if form == "no-suffix" else path
    write_bundle(scale_program(), "hand", parse_target("opencl"), named)
    if named != path:
        named.rename(path)
    assert is_bundle(path)
    with pytest.raises(ModelError, match="is a bundle of kernels"):
        model_files(str(path), 1)
    with pytest.raises(CotenantError, match="is a bundle, which no component here runs"):
        housed(Task(name="t", model=str(path)), ())
    other = tmp_path / "model.onnx"
    other.write_bytes(b"\x08\x07onnx")
    found: list[Callable[[Path], bool] | bool] = [
        is_bundle(each) for each in (other, tmp_path, tmp_path / "nowhere", Path("a\0b"))
    ]
    assert found == [False] * 4
