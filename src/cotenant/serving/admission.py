"""A task that wants in goes in; it is loaded, or refused because a critical promise would break."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum

from cotenant.core.errors import Admission, CotenantError
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.prediction.figures import Prediction
from cotenant.prediction.promises import broken, told, with_load
from cotenant.runtime.base import Runtime, State

_log = logging.getLogger("cotenant")

Load = Callable[[Task, str], Awaitable[None]]
"""How a task of a version gets into the machine; raises `Admission` if it must not."""


class Mode(StrEnum):
    """What happens to a model that would break a critical promise."""

    REFUSE = "refuse"
    WARN = "warn"
    OFF = "off"


class Gatekeeper:
    """Asks the predictor before a model is loaded."""

    def __init__(
        self, mode: Mode, machine: Workload, predicted: Callable[[Workload], Prediction]
    ) -> None:
        """`machine` gives policy and components; `predicted` may block, and runs in a thread."""
        self._mode = mode
        self._machine = machine
        self._predicted = predicted
        self._one_at_a_time = asyncio.Lock()

    async def load(self, runtime: Runtime, task: Task, version: str) -> None:
        """Load the task into the machine, beside what it serves now, if it may.

        Raises:
            Admission: with the figures of the promises that would break.
            WorkloadError: it cannot be predicted: the profile lacks it, or its load is unknown.
        """
        async with self._one_at_a_time:  # two that fit alone may not fit together
            others = [
                served.task
                for name, served in runtime.served.items()
                if name != task.name and served.state not in (State.FAILED, State.UNLOADED)
            ]
            await self.check((*others, task), f"model {task.name!r} is not admitted: with it")
            await runtime.load(task, version)

    async def check(self, tasks: Sequence[Task], refusal: str) -> None:
        """Predict these tasks together; an error begins with the words of `refusal`."""
        if self._mode is Mode.OFF or not tasks:
            return
        try:
            workload = self._machine.model_copy(
                update={"tasks": tuple(with_load(task) for task in tasks)}
            )
            prediction = await self._predict(workload)
            for note in prediction.notes:
                _log.info("admission: %s", note)
            unkept = broken(prediction)
            if unkept:
                raise Admission(
                    f"{refusal}, {told(unkept, tasks)}; unload or slow down another model, give "
                    "it another component, or start the server with --admission warn"
                )
        except CotenantError as error:
            if self._mode is Mode.REFUSE:
                raise
            _log.warning("admission: %s", error)

    async def _predict(self, workload: Workload) -> Prediction:
        thread = ThreadPoolExecutor(1, "admission")
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(thread, self._predicted, workload)
        finally:
            thread.shutdown(wait=False)  # the loop goes on, even if its client has gone away
