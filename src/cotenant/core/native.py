"""A tree of sources goes in; the compiled modules that no longer are what stands there come out.

Python prefers a compiled module to its source without a look at which one is newer.
"""

from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def compiled_modules(package: Path = _PACKAGE) -> dict[Path, Path]:
    """Sources that have been compiled, and what came of each."""
    made = sorted(package.glob("*/*.so"))
    return {one.with_name(one.name.partition(".")[0] + ".py"): one for one in made}


def outdated(package: Path = _PACKAGE) -> Sequence[Path]:
    """Sources that changed after they were compiled, where people change them.

    An installed package is never outdated: nobody edits it, and times there mean nothing.
    """
    if not (package.parents[1] / "setup.py").exists():
        return ()
    modules = compiled_modules(package)
    return [one for one, made in modules.items() if one.stat().st_mtime > made.stat().st_mtime]
