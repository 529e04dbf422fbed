"""The command itself: real models, signals, ports in use, and errors of one line."""

import signal
import socket
from pathlib import Path

import onnx
import orjson
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from cotenant.cli.serve import serve
from cotenant.core.errors import CotenantError
from tests.serving.commanded import ANY_PORTS, command_of, ended, running
from tests.serving.served import TIMEOUT_S, Wire
from tests.serving.test_clients import run_tritonclient

_START_S = 30.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one model: 'double', FP32, n x 4."""
    root = tmp_path_factory.mktemp("models")
    file = root / "double" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)
    return root


def _refused(*arguments: str) -> str:
    """The message of a command that ends before it serves; it runs in this interpreter."""
    result = CliRunner().invoke(serve, arguments)
    assert result.exit_code != 0
    if isinstance(result.exception, CotenantError):
        return str(result.exception)
    assert isinstance(result.exception, SystemExit), result.exception
    return result.output


def test_tritonclient_against_real_models_and_a_clean_end(models: Path, tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    arguments = ("--model-repository", str(models), *ANY_PORTS, "--records", str(records))
    with running(*arguments) as (command, http, grpc):
        run_tritonclient(http, grpc)
        with Wire(http) as wire:
            (lane,) = wire.ask("GET", "/v2/cotenant/lanes").json["lanes"]
            assert (lane["task"], lane["state"], lane["restarts"]) == ("double", "ready", 0)
        command.send_signal(signal.SIGTERM)
        assert command.wait(TIMEOUT_S) == 0
        assert ended(lane["pid"])
    outcomes = [orjson.loads(line)["outcome"] for line in records.read_bytes().splitlines()]
    assert set(outcomes) == {"ok"}
    assert len(outcomes) >= 20


@pytest.mark.parametrize("option", ["--http-port", "--grpc-port"])
def test_a_port_in_use_is_named(models: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = list(ANY_PORTS)
        given[given.index(option) + 1] = port
        with command_of("--model-repository", str(models), *given) as command:
            _, errors = command.communicate(timeout=_START_S)
    assert command.returncode == 2
    assert f"cotenant: port {port}" in errors
    assert f"choose another with {option}" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "a workload file or --model-repository"),
        (("--model-repository", "MODELS", "--load-model", "x"), "--model-control-mode explicit"),
        (("--model-repository", "MODELS", "--max-body-size", "big"), "'64MiB'"),
        (("--model-repository", "MODELS", "--tls-cert", __file__), "go together"),
        (("--model-repository", "MODELS", "--policy", "cotenent"), "did you mean 'cotenant'?"),
        (("--model-repository", "EMPTY"), "NAME/1/model.onnx"),
    ],
)
def test_a_wrong_command_line(
    models: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    names = {"MODELS": str(models), "EMPTY": str(tmp_path)}
    assert says in _refused(*(names.get(one, one) for one in arguments), *ANY_PORTS)
