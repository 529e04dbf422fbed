"""Real little servers that misbehave on purpose, one for each test that asks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cotenant.bench.load import LoadGenerator
from cotenant.bench.servers import Server
from cotenant.core.task import Task
from cotenant.core.workload import Workload

FAKE = (sys.executable, str(Path(__file__).with_name("oip_server.py")))


@pytest.fixture(scope="session")
def generator() -> Iterator[LoadGenerator]:
    with LoadGenerator() as one:
        yield one


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:

        def start(*faults: str) -> Server:
            workload = Workload(
                name="fake", tasks=(Task(name="a", model="zoo:a"), Task(name="b", model="zoo:b"))
            )
            server = Server(workload, "cotenant", tmp_path, (*FAKE, *faults))
            stack.enter_context(server)
            server.wait_ready()
            return server

        yield start
