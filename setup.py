"""The modules that each request passes through are compiled to native code, where a compiler is.

They stay what they are, typed Python: mypyc makes the same modules of them, some two and a half
times as fast. Without a C compiler, or with COTENANT_NATIVE=0, the installation is pure Python.
"""

import os
import sys

from setuptools import Extension, setup

try:
    from mypyc.build import mypycify
except ImportError:
    mypycify = None

HOT = [
    "src/cotenant/core/clock.py",
    "src/cotenant/device/null.py",
    "src/cotenant/policy/batching.py",
    "src/cotenant/policy/concurrent.py",
    "src/cotenant/policy/cotenant.py",
    "src/cotenant/policy/one_at_a_time.py",
    "src/cotenant/policy/priority_queue.py",
    "src/cotenant/policy/sequential.py",
    "src/cotenant/runtime/account.py",
    "src/cotenant/runtime/backlog.py",
    "src/cotenant/runtime/coordinator.py",
    "src/cotenant/runtime/estimate.py",
    "src/cotenant/runtime/guard.py",
    "src/cotenant/runtime/place.py",
    "src/cotenant/runtime/shares.py",
    "src/cotenant/runtime/simulate.py",
    "src/cotenant/runtime/tally.py",
    "src/cotenant/runtime/tenant.py",
    "src/cotenant/runtime/trial.py",
]


def native_modules() -> list[Extension]:
    """The extensions to build; none if they are not wanted or cannot be made."""
    if os.environ.get("COTENANT_NATIVE") == "0":
        return []
    if mypycify is None:
        print("cotenant: mypy is missing, so nothing is compiled", file=sys.stderr)
        return []
    # Types are for `make check` to judge: here a library without any is no mistake.
    options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    extensions = mypycify([*options, *HOT], group_name="cotenant")
    for extension in extensions:
        extension.optional = True  # without a C compiler the same modules run as Python
    return extensions


setup(ext_modules=native_modules())
