"""Bundles served over REST beside an ONNX file: the same answers, records, lanes and metrics."""

import importlib.util
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson
import pytest
import yaml

from cotenant.graph.zoo import zoo_path
from tests.serving.commanded import ANY_PORTS, ended, running
from tests.serving.served import TIMEOUT_S, Wire
from tests.serving.test_command import _refused

MODEL = "cifarnet"
NEEDED = {"pyopencl": "opencl", "tvm": "compile"}
missing = [extra for name, extra in NEEDED.items() if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"needs pip install 'cotenant[{','.join(missing)}]'"),
    # A driver that compiles on the processor needs seconds for each kernel in each form.
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file, its bundle, and a workload of both."""
    from cotenant.compiler.bundle import write_bundle  # noqa: PLC0415
    from cotenant.compiler.lower import lower  # noqa: PLC0415
    from cotenant.compiler.program import parse_target  # noqa: PLC0415
    from cotenant.compiler.unit import UnitCache  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("bundles")
    target, cache = parse_target("opencl"), UnitCache(folder / "units")
    zoo_path(MODEL, folder).rename(folder / "model.onnx")

    def quiet(what: str, done: int, total: int) -> None: ...

    program = lower(folder / "model.onnx", target, shapes={}, batch=1, cache=cache, tell=quiet)
    write_bundle(program, MODEL, target, folder / "model.bundle")
    write_bundle(program, MODEL, target, folder / "model.zip")
    tasks = [
        {"name": "watch", "model": "model.bundle", "criticality": "critical"},
        {"name": "file", "model": "model.onnx"},
        {"name": "rest", "model": "model.bundle"},
        {"name": "packed", "model": "model.zip"},
    ]
    components = [
        {"name": "cpu0", "kind": "cpu", "cores": [0]},
        {"name": "gpu0", "kind": "opencl", "device": 0},
    ]
    workload = {"components": components, "tasks": tasks}
    (folder / "workload.yaml").write_text(yaml.safe_dump(workload))
    return folder


def test_a_bundle_answers_as_the_file_that_it_was_compiled_from(
    folder: Path, tmp_path: Path
) -> None:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (asked,), (answered,) = session.get_inputs(), session.get_outputs()
    records = tmp_path / "records.jsonl"
    arguments = (str(folder / "workload.yaml"), *ANY_PORTS, "--records", str(records))
    with running(*arguments) as (command, http, _), Wire(http) as wire:
        shape = [size if isinstance(size, int) else 1 for size in asked.shape]
        for seed in range(3):
            x = np.random.default_rng(seed).standard_normal(shape, np.float32)
            (wanted,) = session.run([answered.name], {asked.name: x})
            for task in ("watch", "rest", "packed", "file"):
                found = inferred(wire, task, asked.name, x)
                assert found["name"] == answered.name
                y = np.array(found["data"], np.float32).reshape(found["shape"])
                assert np.abs(y - wanted).max() <= 1e-4 * np.abs(wanted).max()
        about = wire.ask("GET", "/v2/cotenant/lanes").json
        lanes = {lane["task"]: lane for lane in about["lanes"]}
        assert {name: one["component"] for name, one in lanes.items()} == {
            "watch": "gpu0", "file": "cpu0", "rest": "gpu0", "packed": "gpu0"
        }  # fmt: skip
        assert lanes["watch"]["pid"] == lanes["rest"]["pid"] != lanes["file"]["pid"]
        assert list(about["pauses_s"]) == ["gpu0"]
        about = wire.ask("GET", "/v2/models/rest").json
        assert about["platform"] == "cotenant_bundle"
        refusal = wire.ask("POST", "/v2/models/rest/infer", body(asked.name, x[:, :, 1:]))
        assert refusal.status == 400
        wire.socket.close()
        command.send_signal(signal.SIGTERM)
        assert command.wait(TIMEOUT_S) == 0
        assert ended(lanes["watch"]["pid"])
    noted = [orjson.loads(line) for line in records.read_bytes().splitlines()]
    components = {one["component"] for one in noted if one["task"] == "watch"}
    assert components == {"gpu0"}


def body(name: str, x: np.ndarray) -> bytes:
    tensor = {"name": name, "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    return orjson.dumps({"inputs": [tensor]})


def inferred(wire: Wire, task: str, name: str, x: np.ndarray) -> Any:
    reply = wire.ask("POST", f"/v2/models/{task}/infer", body(name, x))
    assert reply.status == 200, reply.body
    (output,) = reply.json["outputs"]
    return output


@pytest.mark.parametrize(
    ("components", "model", "says"),
    [
        ("[{name: g, kind: opencl}]", "model.onnx", "cotenant compile"),
        ("[]", "model.bundle", "kind: opencl, device: 0"),
        ("[]", "model.zip", "kind: opencl, device: 0"),
        ("[{name: c, cores: [0]}]", "model.bundle", "kind: opencl, device: 0"),
        ("[{name: g, kind: opencl, device: 77}]", "model.bundle", "OpenCL device 77"),
        ("[{name: g, kind: cuda}]", "model.bundle", "kind: opencl"),
        ("[{name: g, kind: opencl, cores: [0]}]", "model.bundle", "device: 0"),
        ("[{name: c, cores: [0], device: 1}]", "model.bundle", "goes with kind: opencl"),
    ],
)
def test_what_cannot_run_there(components: str, model: str, says: str, folder: Path) -> None:
    path = folder / "wrong.yaml"
    path.write_text(f"components: {components}\ntasks: [{{name: t, model: {model}}}]\n")
    assert says in _refused(str(path), *ANY_PORTS)
