"""The running machine, with real interpreters: time, cancellation, deaths, coming and going."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from cotenant.core.errors import (
    DeadlineExceeded,
    LaneLost,
    ModelError,
    NotFound,
    NotReady,
    QueueFull,
    ShuttingDown,
    WorkloadError,
)
from cotenant.core.record import Outcome, Record
from cotenant.core.request import Answer
from cotenant.core.task import Batch, Queue, Slo, Task
from cotenant.core.workload import Workload
from cotenant.runtime.base import State
from cotenant.runtime.live import LiveRuntime
from tests.models import scale_model, slow_model

X = {"x": np.ones((1, 4), np.float32)}
SLOW_X = {"x": np.ones((100, 1000), np.float32)}


@pytest.fixture
def served(tmp_path):
    """Run a test's coroutine on a machine that serves `det`, `slow` and `batched`."""

    def run(
        body: Callable[[LiveRuntime, list[Record]], Awaitable[None]], policy: str = "cotenant"
    ) -> None:
        scale, slow = str(scale_model(tmp_path)), str(slow_model(tmp_path, depth=60))
        workload = Workload(
            policy=policy,
            tasks=(
                Task(name="det", model=scale, criticality="critical"),
                Task(name="slow", model=slow, queue=Queue(max_size=3)),
                Task(name="batched", model=scale, batch=Batch(max_size=8, max_delay_s=0.02)),
            ),
        )

        async def main() -> None:
            machine = LiveRuntime(workload)
            records: list[Record] = []
            await machine.start()
            machine.subscribe(records.append)
            try:
                await body(machine, records)
            finally:
                await machine.close()

        asyncio.run(main())

    return run


def test_it_answers_and_records(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        assert {one.state for one in machine.served.values()} == {State.READY}
        answer = await machine.infer("det", X)
        np.testing.assert_array_equal(answer.outputs["y"], 2 * X["x"])
        await asyncio.sleep(0)  # records follow their answers
        assert records == [answer.record]
        assert answer.record.arrival_s <= answer.record.start_s <= answer.record.end_s
        with pytest.raises(NotFound, match="Request for unknown model"):
            await machine.infer("nobody", X)

    served(body)


def test_a_queue_timeout_fires_while_another_inference_runs(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        running = asyncio.create_task(machine.infer("slow", SLOW_X))
        await asyncio.sleep(0)
        waiting = await machine.infer("slow", SLOW_X, timeout_s=0.005)
        assert not running.done()
        assert isinstance(waiting.error, DeadlineExceeded)
        assert "Request timeout expired" in str(waiting.error)
        assert waiting.record.outcome is Outcome.TIMED_OUT
        assert (await running).error is None

    served(body)


def test_a_request_that_cannot_be_in_time_is_answered_before_it_runs(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        await machine.infer("slow", SLOW_X)  # now its service time is known
        hopeless = await machine.infer("slow", SLOW_X, deadline_s=0.0001)
        assert hopeless.record.outcome is Outcome.HOPELESS
        assert hopeless.record.start_s is None

    served(body)


def test_a_full_queue_answers_at_once_and_the_rest_is_served(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        answers = await asyncio.gather(*(machine.infer("slow", SLOW_X) for _ in range(10)))
        refused = [one for one in answers if isinstance(one.error, QueueFull)]
        assert len(refused) == 7  # decided together: three places, none yet running
        assert sum(one.error is None for one in answers) == 3
        assert all("Exceeds maximum queue size" in str(one.error) for one in refused)

    served(body)


def test_requests_of_one_form_run_as_a_batch(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        await machine.infer("batched", X)
        await asyncio.gather(*(machine.infer("batched", X) for _ in range(4)))
        inputs = [np.full((1, 4), n, np.float32) for n in range(8)]
        answers = await asyncio.gather(*(machine.infer("batched", {"x": x}) for x in inputs))
        for x, answer in zip(inputs, answers, strict=True):
            np.testing.assert_array_equal(answer.outputs["y"], 2 * x)
        assert max(record.batch for record in records) > 1

    served(body)


def test_records_say_what_ran_together_and_when_it_was_out(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        calls = [
            machine.infer("batched", {"x": np.ones((rows, 4), np.float32)}, rows=rows)
            for rows in (1, 2, 3, 2)
        ]
        await asyncio.gather(*calls, machine.infer("slow", SLOW_X))
        await asyncio.sleep(0)
        batches: dict[tuple[str, float], list[Record]] = {}
        for one in records:
            assert one.start_s is not None
            (start_s, end_s) = one.segments[0]
            assert one.start_s <= start_s <= end_s <= one.end_s
            assert one.output_s > 0
            batches.setdefault((one.task, one.start_s), []).append(one)
        assert sum(one.rows for one in records if one.task == "batched") == 8
        for together in batches.values():
            assert {one.batch_rows for one in together} == {sum(one.rows for one in together)}

    served(body)


def test_a_client_that_goes_away_frees_its_place(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        running = asyncio.create_task(machine.infer("slow", SLOW_X))
        await asyncio.sleep(0.005)
        waiting = [asyncio.create_task(machine.infer("slow", SLOW_X)) for _ in range(3)]
        await asyncio.sleep(0.001)
        assert machine.queued("slow") == 3
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert machine.queued("slow") == 0
        assert (await running).error is None
        await asyncio.sleep(0)
        cancelled = [record for record in records if record.outcome is Outcome.CANCELLED]
        assert len(cancelled) == 3

    served(body)


def test_kill_9_is_noticed_by_nobody_else(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        for _ in range(3):
            victim = asyncio.create_task(machine.infer("slow", SLOW_X))
            await asyncio.sleep(0.01)
            os.kill(machine.lane_pids()["slow"], signal.SIGKILL)
            others = await asyncio.gather(*(machine.infer("det", X) for _ in range(20)))
            assert all(other.error is None for other in others)
            lost = await victim
            assert isinstance(lost.error, LaneLost)
            # It is asked while it restarts: the request waits and is served.
            assert (await machine.infer("slow", SLOW_X)).error is None
        assert machine.lane_restarts("slow") == 3
        assert machine.lane_restarts("det") == 0

    served(body)


def test_tasks_come_and_go(served, tmp_path):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        model = str(scale_model(tmp_path, 5.0, "five"))
        await machine.load(Task(name="five", model=model))
        assert (await machine.infer("five", X)).outputs["y"][0, 0] == 5
        last = asyncio.create_task(machine.infer("slow", SLOW_X))
        await asyncio.sleep(0)
        await machine.unload("slow")
        assert (await last).error is None  # what was under way is finished first
        with pytest.raises(NotReady, match="unloaded"):
            await machine.infer("slow", SLOW_X)
        bad = tmp_path / "bad.onnx"
        bad.write_bytes(b"nonsense")
        with pytest.raises(ModelError, match=r"bad\.onnx"):
            await machine.load(Task(name="bad", model=str(bad)))
        assert machine.served["bad"].state is State.FAILED
        assert (await machine.infer("det", X)).error is None

    served(body)


def test_a_drain_lets_everything_end_and_takes_nothing_new(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        under_way = [asyncio.create_task(machine.infer("slow", SLOW_X)) for _ in range(3)]
        await asyncio.sleep(0)
        drained = asyncio.create_task(machine.drain(30.0))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await machine.infer("det", X)
        assert await drained
        assert all(one.error is None for one in await asyncio.gather(*under_way))

    served(body)


def test_a_drain_that_takes_too_long_says_so(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        stuck = asyncio.create_task(machine.infer("slow", SLOW_X))
        await asyncio.sleep(0)
        assert not await machine.drain(0.001)
        stuck.cancel()

    served(body)


@pytest.mark.parametrize("policy", ["sequential", "concurrent", "priority-queue"])
def test_every_policy_serves(served, policy):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        calls = [machine.infer("det", X) for _ in range(5)]
        calls += [machine.infer("slow", SLOW_X) for _ in range(3)]
        assert all(answer.error is None for answer in await asyncio.gather(*calls))

    served(body, policy)


def test_a_workload_that_cannot_load_leaves_nothing_behind(tmp_path):
    missing = Workload(tasks=(Task(name="gone", model=str(tmp_path / "gone.onnx")),))

    async def main() -> None:
        with pytest.raises(ModelError, match="gone"):
            await LiveRuntime(missing).start()

    before = set(os.listdir("/proc/self/fd"))
    asyncio.run(main())
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_policy_by_kernel_is_refused_and_leaves_no_descriptor_open(tmp_path):
    workload = Workload(tasks=(Task(name="det", model=str(scale_model(tmp_path))),))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(WorkloadError, match="'miriam' decides kernel by kernel"):
        LiveRuntime(workload, "miriam")
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_slo_that_cannot_be_kept_even_alone_is_told_with_the_figure(tmp_path, caplog):
    model = str(slow_model(tmp_path, depth=60))
    hopeless = Task(name="det", model=model, criticality="critical", slo=Slo(latency_s=1e-6))

    async def main() -> None:
        machine = LiveRuntime(Workload(tasks=(hopeless,)))
        await machine.start()
        await machine.close()

    asyncio.run(main())
    (warning,) = [text for text in caplog.messages if "SLO" in text]
    assert "'det'" in warning
    assert "1 us" in warning
    assert "ms (median" in warning or "us (median" in warning


async def _die(machine: LiveRuntime, task: str, inputs: dict[str, np.ndarray]) -> Answer:
    """Ask a task, and have its lane die of it."""
    pid = machine.lane_pids()[task]
    os.kill(pid, signal.SIGSTOP)
    asked = asyncio.create_task(machine.infer(task, inputs))
    await asyncio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return await asked


async def _back(machine: LiveRuntime, task: str) -> None:
    for _ in range(6000):
        if machine.served[task].state is State.READY:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{task} did not come back")


def test_a_lane_that_dies_of_each_request_restarts_more_and_more_slowly(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        for pause in ("at once", "in 100 ms", "in 500 ms"):
            answer = await _die(machine, "det", X)
            assert isinstance(answer.error, LaneLost)
            assert pause in str(answer.error)
            assert machine.served["det"].state is State.RESTARTING
            assert machine.served["det"].reason == str(answer.error)
            assert (await machine.infer("batched", X)).error is None
            await _back(machine, "det")
            # What it died of is not run again.
            assert machine.queued("det") == 0
        assert [one.outcome for one in records if one.task == "det"] == [Outcome.FAILED] * 3
        assert machine.lane_restarts("det") == 3
        assert (await machine.infer("det", X)).error is None
        assert "at once" in str((await _die(machine, "det", X)).error)  # one answer, and it is new
        await _back(machine, "det")

    served(body)


def test_a_task_can_leave_while_its_lane_restarts(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        await _die(machine, "det", X)
        waiting = asyncio.create_task(machine.infer("det", X))
        await asyncio.sleep(0)
        await machine.unload("det")
        assert isinstance((await waiting).error, NotReady)
        assert machine.served["det"].state is State.UNLOADED
        assert machine.queued("det") == 0

    served(body)


def test_a_lane_that_dies_while_its_task_leaves_is_not_waited_for(served):
    async def body(machine: LiveRuntime, records: list[Record]) -> None:
        pid = machine.lane_pids()["det"]
        os.kill(pid, signal.SIGSTOP)
        asked = [asyncio.create_task(machine.infer("det", X)) for _ in range(2)]
        await asyncio.sleep(0.01)
        leaving = asyncio.create_task(machine.unload("det"))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        await leaving
        first, second = await asyncio.gather(*asked)
        assert isinstance(first.error, LaneLost)
        assert isinstance(second.error, NotReady)

    served(body)
