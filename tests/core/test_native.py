"""Compiled modules: all of those that should be, or none; and never older than their sources."""

import importlib
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from cotenant.core.native import compiled_modules, outdated

ROOT = Path(__file__).parents[2]


def test_all_hot_modules_are_compiled_or_none_is():
    modules = compiled_modules()
    if not modules and (Path(sys.prefix) / ".pure").exists():
        pytest.skip("compiled modules were thrown away by 'make pure'; 'make native' brings them")
    if not modules and shutil.which("cc") is None:
        pytest.skip("there is no C compiler, so all modules run as Python")
    hot = re.findall(r"src/cotenant/[a-z_/]*\.py", (ROOT / "setup.py").read_text())
    assert sorted(str(one.relative_to(ROOT)) for one in modules) == sorted(hot)
    for source in modules:
        name = ".".join(source.relative_to(ROOT / "src").with_suffix("").parts)
        assert importlib.import_module(name).__file__ == str(modules[source])


@pytest.mark.parametrize(("later_s", "found"), [(-1.0, False), (1.0, True)])
def test_a_source_that_changed_after_it_was_compiled_is_found(tmp_path, later_s, found):
    room = tmp_path / "src" / "cotenant" / "runtime"
    room.mkdir(parents=True)
    source, compiled = room / "guard.py", room / "guard.cpython-311-x86_64-linux-gnu.so"
    (room / "live.py").touch()  # never compiled, never outdated
    for one, at_s in ((compiled, 1000.0), (source, 1000.0 + later_s)):
        one.touch()
        os.utime(one, (at_s, at_s))
    assert outdated(room.parent) == ()  # as in an installation
    (tmp_path / "setup.py").touch()
    assert outdated(room.parent) == ([source] if found else [])
