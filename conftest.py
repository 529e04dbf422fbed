"""Sources of compiled modules are not collected, since their doctests are those of Python ones."""

from pathlib import Path

import pytest

from cotenant.core.native import compiled_modules, outdated

_COMPILED = compiled_modules()


def pytest_configure() -> None:
    """Tests must be of what stands in the sources."""
    if changed := outdated():
        pytest.exit(f"{changed[0]} has changed since it was compiled: run 'make setup'", 4)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path in _COMPILED else None
