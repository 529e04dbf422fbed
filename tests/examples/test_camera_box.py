"""The examples: their workload files load, and real models see what the client draws."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from cotenant.core.workload import load_workload
from cotenant.graph.load import check_model, resolve_model

EXAMPLES = Path(__file__).parents[2] / "examples"
BOX = EXAMPLES / "camera-box"

needs_models = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in ("rapidocr", "magika")),
    reason="the extra 'camera-box' is not installed",
)


@pytest.fixture(scope="module")
def client() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BOX))
    try:
        import client  # noqa: PLC0415 - a script of the example, not a module of ours

        yield client
    finally:
        sys.path.remove(str(BOX))
        for name in ("client", "pictures"):
            sys.modules.pop(name, None)


class LocalClient:
    """The client's interface over ONNX Runtime in this interpreter."""

    def __init__(self, models: dict[str, Path]) -> None:
        self.sessions = {
            name: onnxruntime.InferenceSession(str(path)) for name, path in models.items()
        }

    def infer(self, model: str, name: str, tensor: np.ndarray) -> np.ndarray:
        (output,) = self.sessions[model].run(None, {name: tensor})
        return output


@pytest.fixture(scope="module")
def local() -> LocalClient:
    tasks = load_workload(BOX / "workload.yaml").tasks
    return LocalClient({task.name: resolve_model(task.model) for task in tasks})


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("workload*.yaml")), ids=str)
def test_workload_files_load(path: Path) -> None:
    workload = load_workload(path)
    assert any(task.critical for task in workload.tasks)


@needs_models
def test_models_pass_the_check() -> None:
    for task in load_workload(BOX / "workload.yaml").tasks:
        check_model(resolve_model(task.model))


@needs_models
@pytest.mark.parametrize("number", range(4))
def test_models_see_what_was_drawn(client: ModuleType, local: LocalClient, number: int) -> None:
    picture = client.draw_picture(number)
    left, top, right, bottom = picture.box
    found = local.infer("detect-text", "x", client.frame_tensor(picture))[0, 0]
    inside = found[top:bottom, left:right]
    assert inside.mean() > 0.3
    assert (found.sum() - inside.sum()) / (found.size - inside.size) < 0.05
    for upside_down in (False, True):
        tensor = client.orientation_tensor(picture, upside_down)
        assert local.infer("find-orientation", "x", tensor)[0].argmax() == upside_down
    # The recognition model carries its letters in its own metadata; number 0 stands for none.
    metadata = local.sessions["read-text"].get_modelmeta().custom_metadata_map
    letters = ["", *metadata["character"].splitlines(), " "]
    symbols = local.infer("read-text", "x", client.line_tensor(picture))[0].argmax(axis=1)
    kept = symbols[np.flatnonzero(np.diff(symbols, prepend=0))]
    assert "".join(letters[symbol] for symbol in kept) == picture.text


@needs_models
def test_line_about_a_picture(client: ModuleType, local: LocalClient) -> None:
    line = client.look_at(local, client.draw_picture(1), 1)
    assert "upside down, 7 letters of 'GATE B7'" in line


@needs_models
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"import os\n\n\ndef main():\n    print(os.getcwd())\n\n\nmain()\n" * 3, "python"),
        (b"# Title\n\nSome *text*, a [link](http://a.b), and\n\n- a list\n- of two\n", "markdown"),
    ],
)
def test_file_kinds(client: ModuleType, local: LocalClient, content: bytes, kind: str) -> None:
    kinds = json.loads(
        resolve_model("python:magika/models/standard_v3_3/config.min.json").read_text()
    )
    scores = local.infer("tell-file-kind", "bytes", client.file_tensor(content))[0]
    assert kinds["target_labels_space"][scores.argmax()] == kind


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_request_is_what_the_reference_client_sends(client: ModuleType, dtype: str) -> None:
    tensor = np.arange(6).reshape(2, 3).astype(dtype)
    put = InferInput("x", [2, 3], {"float32": "FP32", "int32": "INT32"}[dtype])
    put.set_data_from_numpy(tensor)
    theirs, length = InferenceServerClient.generate_request_body([put])
    ours, headers = client.encode_request("x", tensor)
    cut = int(headers["Inference-Header-Content-Length"])
    assert json.loads(ours[:cut]) == json.loads(theirs[:length])
    assert ours[cut:] == theirs[length:]


def test_client_over_the_wire(client: ModuleType) -> None:
    answers = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            values = np.frombuffer(
                body[int(self.headers["Inference-Header-Content-Length"]) :], "<f4"
            )
            answers.append(self.path)
            output = {"name": "y", "datatype": "FP32", "shape": [1, 4]}
            header = json.dumps({"outputs": [output]}).encode()
            content = header + (values * 2).tobytes()
            self.send_response(404 if "none" in self.path else 200)
            self.send_header("Inference-Header-Content-Length", str(len(header)))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        one = client.Client(*server.server_address)
        try:
            tensor = np.arange(4, dtype=np.float32)[None]
            np.testing.assert_array_equal(one.infer("m", "x", tensor), tensor * 2)
            assert answers == ["/v2/models/m/infer"]
            with pytest.raises(SystemExit, match="none: 404"):
                one.infer("none", "x", tensor)
        finally:
            one.close()
            server.shutdown()
            thread.join()
