"""Models with real weights, whose lengths are computed in their graphs: numbers in every form."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.front import lower_model
from cotenant.compiler.program import parse_target
from cotenant.compiler.unit import UnitCache
from cotenant.device.bundle import Tensor, read_bundle
from cotenant.device.elastic.runner import Runner
from cotenant.graph.load import resolve_model
from tests.device.elastic.inferences import check_outputs, infer_with_pauses

pytest.importorskip("tvm", reason="needs TVM: pip install 'cotenant[compile]'")

MODELS = {
    "magika/models/standard_v3_3/model.onnx": {},
    "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx": {"x": (1, 3, 48, 192)},
    "rapidocr/models/PP-OCRv6_det_small.onnx": {"x": (1, 3, 320, 320)},
    "rapidocr/models/PP-OCRv6_rec_small.onnx": {"x": (1, 3, 48, 320)},
}
"""Shapes by model, as the example of a camera's box has them."""


def drawn(spec: Tensor) -> np.ndarray:
    """Pixels from -1 to 1, or the bytes of a file; 256 stands for none."""
    rng = np.random.default_rng(0)
    if spec.dtype == "int32":
        return rng.integers(0, 257, spec.shape, np.int32)
    return rng.uniform(-1, 1, spec.shape).astype(spec.dtype)


@pytest.mark.timeout(900)  # a driver that compiles on the processor needs seconds for a kernel
@pytest.mark.parametrize("model", MODELS)
def test_outputs_are_those_of_onnxruntime(model: str, place: Any, tmp_path: Path) -> None:
    package = model.partition("/")[0]
    if find_spec(package) is None:
        pytest.skip(f"needs the package {package!r}: pip install 'cotenant[camera-box]'")
    path = resolve_model(f"python:{model}")
    target = parse_target("opencl")
    program = lower_model(
        path,
        target,
        shapes=MODELS[model],
        batch=1,
        cache=UnitCache(tmp_path / "units"),
        tell=lambda what, done, total: None,
    )
    write_bundle(program, "real", target, tmp_path / "bundle")
    runner = Runner(read_bundle(tmp_path / "bundle", "opencl"), place)
    inputs = {spec.name: drawn(spec) for spec in runner.inputs}
    plain = runner.infer(inputs)
    check_outputs(plain, path, inputs)
    for answer in (runner.infer(inputs, width=3), infer_with_pauses(runner, inputs, width=2)):
        for name, one in plain.items():
            assert answer[name].tobytes() == one.tobytes(), "an elastic form changed the result"
