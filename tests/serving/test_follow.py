"""A model repository that is followed, with real models: they come, change, break and go."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from cotenant.core.errors import NotReady
from cotenant.core.workload import Workload
from cotenant.runtime.base import State
from cotenant.runtime.live import LiveRuntime
from cotenant.serving.repository import Follower, Repository
from tests.models import scale_model
from tests.serving.commanded import ANY_PORTS, running
from tests.serving.served import Wire

_BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,1,1,1]}]}'


def _put(folder: Path, factor: float) -> Path:
    (folder / "1").mkdir(parents=True, exist_ok=True)
    return scale_model(folder / "1", factor, "model")


async def _factor(machine: LiveRuntime, name: str) -> float:
    answer = await machine.infer(name, {"x": np.ones((1, 4), np.float32)})
    assert answer.outputs is not None, answer.error
    return float(answer.outputs["y"][0, 0])


def _followed(
    root: Path, body: Callable[[LiveRuntime, Callable[[], Awaitable[None]]], Awaitable[None]]
) -> None:
    """Run a test on a machine that serves `root`, with a way to have it look until all is still."""

    async def main() -> None:
        machine = LiveRuntime(Workload.model_construct(tasks=()))
        await machine.start()
        repository = Repository([root])
        follower = Follower(repository, machine, repository.names())

        async def look() -> None:
            while await follower.step():
                pass

        try:
            for name in repository.names():
                await machine.load(*repository.find(name))
            await body(machine, look)
        finally:
            await machine.close()

    asyncio.run(main())


def test_models_come_change_and_go(tmp_path: Path) -> None:
    root = tmp_path / "models"
    _put(root / "stays", 2.0)
    _put(root / "goes", 3.0)
    _put(tmp_path / "comes", 4.0)

    async def body(machine: LiveRuntime, look: Callable[[], Awaitable[None]]) -> None:
        pid = machine.lane_pids()["stays"]
        shutil.copytree(tmp_path / "comes", root / "comes")
        shutil.rmtree(root / "goes")
        await look()
        assert await _factor(machine, "comes") == 4.0
        assert machine.served["goes"].state is State.UNLOADED
        with pytest.raises(NotReady):
            await _factor(machine, "goes")
        _put(root / "comes", 5.0)
        await look()
        assert await _factor(machine, "comes") == 5.0
        (root / "comes" / "2").mkdir()
        shutil.copy(root / "stays" / "1" / "model.onnx", root / "comes" / "2" / "model.onnx")
        await look()
        assert await _factor(machine, "comes") == 2.0
        assert machine.served["comes"].version == "2"
        _put(root / "goes", 6.0)
        await look()
        assert await _factor(machine, "goes") == 6.0
        # All the while nothing happened to the others.
        assert await _factor(machine, "stays") == 2.0
        assert machine.lane_pids()["stays"] == pid

    _followed(root, body)


def test_a_half_copied_model_breaks_nothing(tmp_path: Path) -> None:
    root = tmp_path / "models"
    served = _put(root / "served", 2.0)
    whole = _put(tmp_path / "whole", 3.0).read_bytes()

    async def body(machine: LiveRuntime, look: Callable[[], Awaitable[None]]) -> None:
        # In the place of a model that is served: that one goes on.
        served.write_bytes(whole[: len(whole) // 2])
        new = root / "new" / "1" / "model.onnx"
        new.parent.mkdir(parents=True)
        new.write_bytes(whole[: len(whole) // 2])
        await look()
        assert machine.served["served"].state is State.READY
        assert await _factor(machine, "served") == 2.0
        if "new" in machine.served:
            assert machine.served["new"].state is State.FAILED
        served.write_bytes(whole)
        new.write_bytes(whole)
        await look()
        assert await _factor(machine, "served") == 3.0
        assert await _factor(machine, "new") == 3.0

    _followed(root, body)


def test_the_command_follows_its_folders(tmp_path: Path) -> None:
    root = tmp_path / "models"
    _put(root / "first", 2.0)
    _put(tmp_path / "second", 3.0)
    arguments = ("--model-repository", str(root), "--model-control-mode", "poll")
    with (
        running(*arguments, "--repository-poll", "50ms", *ANY_PORTS) as (_, http, _),
        Wire(http) as wire,
    ):

        def becomes(name: str, status: int) -> None:
            for _ in range(100_000):
                if wire.ask("GET", f"/v2/models/{name}/ready").status == status:
                    return
            raise AssertionError(f"{name} never answered {status}")

        shutil.copytree(tmp_path / "second", root / "second")
        becomes("second", 200)
        reply = wire.ask("POST", "/v2/models/second/infer", _BODY)
        assert reply.json["outputs"][0]["data"] == [3.0] * 4
        shutil.rmtree(root / "second")
        becomes("second", 503)
        assert wire.ask("GET", "/v2/models/first/ready").status == 200
        assert wire.ask("GET", "/v2/cotenant/lanes").status == 200
