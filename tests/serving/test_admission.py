"""Admission: what would break a critical SLO stays outside, over either protocol, and at start."""

import asyncio
import json
import logging
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from cotenant.cli.serve import serve
from cotenant.core.errors import Admission, WorkloadError
from cotenant.core.task import Task
from cotenant.core.workload import Workload
from cotenant.pipeline import load
from cotenant.prediction.apart import Apart
from cotenant.prediction.figures import Prediction
from cotenant.prediction.predict import predict
from cotenant.profiling.file import origin, save_profile
from cotenant.profiling.subject import subject_of
from cotenant.serving.admission import Gatekeeper, Mode
from cotenant.serving.protocol import inference_pb2 as pb
from cotenant.serving.repository import Follower, Repository
from tests.models import scale_model
from tests.prediction import made_up
from tests.serving.fake_runtime import FakeRuntime
from tests.serving.served import TIMEOUT_S, Served, Wire, served

CAMERA = """
parameters {{ key: "criticality" value {{ string_value: "critical" }} }}
parameters {{ key: "slo" value {{ string_value: "50ms" }} }}
parameters {{ key: "rate" value {{ string_value: "{rate}/s" }} }}
"""
MACHINE = Workload.model_construct(tasks=())


def put(root: Path, name: str, config: str = "") -> None:
    scale_model(root, name="model").rename(_folder(root, name) / "model.onnx")
    if config:
        (root / name / "config.pbtxt").write_text(config)


def _folder(root: Path, name: str) -> Path:
    folder = root / name / "1"
    folder.mkdir(parents=True)
    return folder


def models(root: Path) -> Repository:
    """Cameras of 10 ms a request: one at 30/s keeps 50 ms, not with a further one at 50/s."""
    put(root, "cam", CAMERA.format(rate=30))
    put(root, "fast", CAMERA.format(rate=50))
    put(root, "mute", CAMERA.format(rate=30).rsplit("parameters", 1)[0])
    put(root, "bulk")
    return Repository([root])


def by_name(task: Task, workload: Workload) -> made_up.Subject:
    return made_up.subject(task.name, task.criticality)


def gate(mode: Mode, *known: str) -> Gatekeeper:
    """A gatekeeper over a profile of these models, 10 ms each."""
    profile = made_up.made_up(dict.fromkeys(known or ("cam", "fast", "mute", "bulk"), 0.01))

    def predicted(workload: Workload) -> Prediction:
        return predict(workload, profile, by_name)

    return Gatekeeper(mode, MACHINE, predicted)


def empty(one: Served) -> Served:
    one.call(one.runtime.served.clear)
    return one


def ask(wire: Wire, name: str) -> tuple[int, str]:
    reply = wire.ask("POST", f"/v2/repository/models/{name}/load")
    return reply.status, "" if reply.status == 200 else reply.error


def test_rest_refuses_with_the_figures(tmp_path: Path) -> None:
    settings = {"repository": models(tmp_path), "explicit": True, "admission": gate(Mode.REFUSE)}
    with served(**settings) as one, Wire(one.ports.http) as wire:
        empty(one)
        assert ask(wire, "cam") == (200, "")
        assert ask(wire, "bulk") == (200, "")  # without a rate it takes what is left
        status, error = ask(wire, "fast")
        assert status == 409
        for said in ("failed to load 'fast'", "task 'cam'", "its SLO is 50 ms", "SLO at p99",
                     "in time", "--admission warn"):  # fmt: skip
            assert said in error
        assert sorted(one.runtime.served) == ["bulk", "cam"]
        assert wire.ask("POST", "/v2/repository/models/cam/unload").status == 200
        assert ask(wire, "fast") == (200, "")  # the room is free again


def test_grpc_refuses_with_a_status_that_is_not_tried_again(tmp_path: Path) -> None:
    settings = {"repository": models(tmp_path), "explicit": True, "admission": gate(Mode.REFUSE)}
    with (
        served(**settings) as one,
        grpc.insecure_channel(f"127.0.0.1:{one.ports.grpc}") as channel,
    ):
        empty(one)
        loads = channel.unary_unary(
            "/inference.GRPCInferenceService/RepositoryModelLoad",
            request_serializer=pb.RepositoryModelLoadRequest.SerializeToString,
            response_deserializer=pb.RepositoryModelLoadResponse.FromString,
        )
        loads(pb.RepositoryModelLoadRequest(model_name="cam"), timeout=TIMEOUT_S)
        with pytest.raises(grpc.RpcError) as refused:
            loads(pb.RepositoryModelLoadRequest(model_name="fast"), timeout=TIMEOUT_S)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "p99" in refused.value.details()
        assert "its SLO is 50 ms" in refused.value.details()
        assert sorted(one.runtime.served) == ["cam"]


def test_what_cannot_be_predicted_names_the_remedy(tmp_path: Path) -> None:
    settings = {
        "repository": models(tmp_path),
        "explicit": True,
        "admission": gate(Mode.REFUSE, "cam", "mute"),
    }
    with served(**settings) as one, Wire(one.ports.http) as wire:
        empty(one)
        status, error = ask(wire, "bulk")
        assert (status, "the profile lacks task 'bulk'" in error) == (400, True)
        assert "run 'cotenant profile' with this task" in error
        status, error = ask(wire, "mute")
        assert (status, "critical task 'mute' has no arrivals" in error) == (400, True)
        assert "config.pbtxt" in error
        assert ask(wire, "cam") == (200, "")


def test_two_that_fit_alone_but_not_together_do_not_slip_in_at_once(tmp_path: Path) -> None:
    runtime, keeper = FakeRuntime(), gate(Mode.REFUSE)
    runtime.served.clear()
    repository = models(tmp_path)

    async def both() -> list[object]:
        return await asyncio.gather(
            *(keeper.load(runtime, *repository.find(name)) for name in ("cam", "fast")),
            return_exceptions=True,
        )

    first, second = asyncio.run(both())
    assert first is None
    assert isinstance(second, Admission)


def test_a_model_that_is_loaded_anew_is_not_counted_twice(tmp_path: Path) -> None:
    runtime, keeper, repository = FakeRuntime(), gate(Mode.REFUSE), models(tmp_path)
    runtime.served.clear()
    for _ in range(2):  # twice at 50/s would not be stable
        asyncio.run(keeper.load(runtime, *repository.find("fast")))
    assert list(runtime.served) == ["fast"]


def test_a_warning_says_the_same_and_loads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runtime, repository = FakeRuntime(), models(tmp_path)
    runtime.served.clear()
    for mode, warnings in ((Mode.WARN, 1), (Mode.OFF, 0)):
        runtime.served.clear()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            for name in ("cam", "fast"):
                asyncio.run(gate(mode).load(runtime, *repository.find(name)))
        assert sorted(runtime.served) == ["cam", "fast"]
        assert len(caplog.records) == warnings
        assert all("its SLO is 50 ms" in record.message for record in caplog.records)


def test_folders_that_are_followed_are_asked_for_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repository, runtime, keeper = models(tmp_path), FakeRuntime(), gate(Mode.REFUSE)
    runtime.served.clear()
    asyncio.run(keeper.load(runtime, *repository.find("cam")))

    async def admitted(task: Task, version: str) -> None:
        await keeper.load(runtime, task, version)

    follower = Follower(repository, runtime, ("cam", "bulk", "mute"), admitted)
    (tmp_path / "fast" / "config.pbtxt").write_text(CAMERA.format(rate=55))
    for _ in range(2):  # a folder has to hold still first
        asyncio.run(follower.step())
    assert sorted(runtime.served) == ["cam"]
    assert "failed to load 'fast'" in caplog.text


@pytest.fixture
def profiled(tmp_path: Path) -> tuple[Path, Path]:
    """A workload of one camera, and a profile of this machine in which it takes 10 ms."""
    scale_model(tmp_path, name="cam")
    path = tmp_path / "workload.yaml"
    path.write_text(
        "tasks: [{name: cam, model: cam.onnx, criticality: critical, slo: {latency: 50ms}, "
        "arrivals: {kind: poisson, rate: 30/s}}]"
    )
    workload = load(path)
    made = made_up.made_up({"cam": 0.01}, machine=dict(origin().machine),
                           versions=dict(origin().versions))  # fmt: skip
    [alone] = made.alone
    subject = subject_of(workload.tasks[0], workload)
    out = tmp_path / "profile.json"
    save_profile(
        made.model_copy(update={"alone": (alone.model_copy(update={"subject": subject}),)}), out
    )
    return path, out


def test_the_interpreter_apart_predicts_the_same(profiled: tuple[Path, Path]) -> None:
    path, out = profiled
    [figures] = asyncio.run(asyncio.to_thread(Apart(out), load(path))).tasks
    assert figures.mean_s == pytest.approx(0.01 + 30 * 0.01**2 / 2 / 0.7)
    assert figures.fits
    content = json.loads(out.read_text())
    content["machine"]["cores"] = 99
    out.write_text(json.dumps(content))
    with pytest.raises(WorkloadError, match="cores was 99"):
        asyncio.run(asyncio.to_thread(Apart(out), load(path)))
    assert asyncio.run(asyncio.to_thread(Apart(out, any_machine=True), load(path))).fits


def test_a_workload_that_does_not_fit_is_not_served(profiled: tuple[Path, Path]) -> None:
    path, out = profiled
    path.write_text(path.read_text().replace("30/s", "95/s"))
    result = CliRunner().invoke(serve, [str(path), "--profile", str(out)])
    assert result.exit_code == 3
    assert "this workload is not admitted, task 'cam' would have p99" in result.output
    assert "its SLO is 50 ms" in result.output


def test_refusing_needs_a_profile(profiled: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(serve, [str(profiled[0]), "--admission", "refuse"])
    assert result.exit_code == 2
    assert "--admission refuse goes with --profile" in result.output
