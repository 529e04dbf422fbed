"""The whole story on one page: a workload file goes in, a running machine comes out.

    workload = load("workload.yaml")
    async with running(workload) as machine:
        answer = await machine.infer("detector", {"images": pixels})

`cotenant serve` is the same with a server in front of it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cotenant.core.workload import Workload, load_workload
from cotenant.runtime.live import LiveRuntime


def load(path: str | Path) -> Workload:
    """Read a workload file: the tasks, and what is promised about each.

    Raises:
        WorkloadError: with line, field and remedy.
    """
    return load_workload(Path(path))


@asynccontextmanager
async def running(workload: Workload, policy: str | None = None) -> AsyncIterator[LiveRuntime]:
    """A machine that serves the workload until the block ends, without a network.

    Raises:
        ModelError: a model cannot be served.
        WorkloadError: there is no such policy.
    """
    machine = LiveRuntime(workload, policy)
    await machine.start()
    try:
        yield machine
    finally:
        await machine.close()
