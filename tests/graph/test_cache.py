"""The cache: whole files or none, whoever is killed, whatever is damaged, however many write."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cotenant.core.errors import CotenantError
from cotenant.graph.cache import Sink, cache_folder, intact, keep

CONTENT = bytes(range(256)) * 64


def write(sink: Sink) -> None:
    sink.write(CONTENT[:1000])
    sink.write(CONTENT[1000:])


def never(sink: Sink) -> None:
    raise AssertionError("the file was there and whole, so nothing should be written")


def test_written_once_with_a_hash_that_sha256sum_understands(tmp_path: Path) -> None:
    path = keep(tmp_path / "deep" / "er" / "m.onnx", len(CONTENT), write)
    assert path.read_bytes() == CONTENT
    noted = (path.parent / "m.onnx.sha256").read_text()
    assert noted == f"{hashlib.sha256(CONTENT).hexdigest()}  m.onnx\n"
    assert keep(path, len(CONTENT), never) == path


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(CONTENT[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(CONTENT[:500] + b"\0" + CONTENT[501:]),
        lambda path: path.unlink(),
        lambda path: path.with_name("m.onnx.sha256").unlink(),
        lambda path: path.with_name("m.onnx.sha256").write_bytes(b"\xff\xfe"),
        lambda path: path.with_name("m.onnx.sha256").write_bytes(b""),
    ],
)
def test_damage_is_found_and_mended(tmp_path: Path, damage) -> None:
    path = keep(tmp_path / "m.onnx", len(CONTENT), write)
    damage(path)
    assert not intact(path)
    keep(path, len(CONTENT), write)
    assert path.read_bytes() == CONTENT
    assert intact(path)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(sink: Sink) -> None:
        sink.write(CONTENT)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path / "m.onnx", len(CONTENT), fail)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx.lock"]


def test_kill_in_the_middle_of_a_write(tmp_path: Path) -> None:
    program = (
        "import os, sys, signal\n"
        "from pathlib import Path\n"
        "from cotenant.graph.cache import keep\n"
        "def write(sink):\n"
        "    sink.write(b'x' * 100_000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "keep(Path(sys.argv[1]), 1, write)\n"
    )
    path = tmp_path / "m.onnx"
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    assert not path.exists()
    keep(path, len(CONTENT), write)  # neither the lock nor the rest of the file is in the way
    assert path.read_bytes() == CONTENT
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "m.onnx",
        "m.onnx.lock",
        "m.onnx.sha256",
    ]


def test_two_interpreters_at_once_write_one_after_the_other(tmp_path: Path) -> None:
    # Each would see the other's half if both wrote: the partial file has one name.
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from cotenant.graph.cache import keep\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "def write(sink):\n"
        "    print('wrote', flush=True)\n"
        "    for _ in range(50):\n"
        "        sink.write(b'y' * 10_000)\n"
        "        time.sleep(0.002)\n"
        "content = keep(Path(sys.argv[1]), 1, write).read_bytes()\n"
        "print(content == b'y' * 500_000, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "m.onnx")]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        for each in both:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        outputs = []
        for each in both:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        for each in both:
            outputs.append(each.communicate(timeout=30)[0].splitlines())
    finally:
        for each in both:
            each.kill()
            each.wait()
    assert sorted(outputs) == [["True"], ["wrote", "True"]]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_names_folder_bytes_and_remedy(tmp_path: Path, number: int) -> None:
    def full(sink: Sink) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(CotenantError) as caught:
        keep(tmp_path / "m.onnx", 12_345_678, full)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "12345678 bytes" in message
    assert "$COTENANT_CACHE" in message
    assert not (tmp_path / "m.onnx").exists()


def test_really_full_disk(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own needs the right to mount")
    try:
        with pytest.raises(CotenantError, match=r"no room .* 977 KiB \(1000000 bytes\)"):
            keep(tmp_path / "m.onnx", 1_000_000, lambda sink: sink.write(b"z" * 1_000_000))
        assert [path.name for path in tmp_path.iterdir()] == ["m.onnx.lock"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CotenantError, match=r"cannot keep 'm.onnx' .*; set \$COTENANT_CACHE"):
        keep(tmp_path / "file" / "m.onnx", 1, write)


def test_read_only_folder_serves_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keep(tmp_path / "m.onnx", len(CONTENT), write)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr("cotenant.graph.cache._locked", read_only)
    assert keep(path, len(CONTENT), never) == path
    with pytest.raises(CotenantError, match="Read-only file system"):
        keep(tmp_path / "other.onnx", 1, write)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COTENANT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("COTENANT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cotenant"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "cotenant"
