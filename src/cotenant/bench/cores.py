"""Cores that servers may use go in; where they and the load generator run comes out.

The generator stands for clients on other machines, so where servers do not use all cores it has
the others. Two virtual cores may be two threads of one real core, for some seconds or for good:
whoever uses both is then slow, and a machine that does so now and then is best measured on one.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from cotenant.core.errors import CotenantError
from cotenant.core.hardware import allowed_cores


class Cores(NamedTuple):
    """Who runs where."""

    servers: tuple[int, ...]
    generator: tuple[int, ...]
    """None: wherever the one who starts it is."""


def shared_out(asked: Iterable[int] = ()) -> Cores:
    """The servers have the cores that are asked for, all if none are; the generator has the others.

    Raises:
        CotenantError: this process may not use one that is asked for.
    """
    here = allowed_cores()
    servers = tuple(sorted(set(asked))) or here
    if not set(servers) <= set(here):
        raise CotenantError(
            f"servers cannot run on cores {', '.join(map(str, servers))}: this process may use "
            f"{', '.join(map(str, here))}"
        )
    return Cores(servers, tuple(core for core in here if core not in servers))


def core_count(machine: Mapping[str, Any]) -> str:
    """Of the machine that a header or a summary describes.

    >>> core_count({"cores": 1}), core_count({"cores": 2})
    ('1 core', '2 cores')
    """
    return f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'}"


def who_runs_where(header: Mapping[str, Any]) -> Iterator[str]:
    """A line for a report, from the header of its records; none where older ones do not say."""
    if "cores" in header:
        servers, generator = (", ".join(map(str, own)) for own in Cores(**header["cores"]))
        beside = f"on core {generator}" if generator else "beside them"
        yield f"Servers on core {servers}; load generator {beside}."


@contextlib.contextmanager
def confined(cores: Iterable[int]) -> Iterator[None]:
    """The calling thread, and what it starts, keeps to these cores until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
