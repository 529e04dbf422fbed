"""Whole bundles on a device: numerics, narrow and paused inferences, and clear refusals."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import parse_target
from cotenant.core.errors import DeviceError, InvalidRequest, ModelError
from cotenant.device.bundle import Code, read_bundle
from cotenant.device.elastic.runner import Runner
from cotenant.device.opencl.driver import open_place
from tests.compiler.kernels import scale_program
from tests.device.elastic.conftest import drawn
from tests.device.elastic.models import MODELS


@pytest.fixture
def runner(tmp_path: Path, place: Any) -> Runner:
    write_bundle(scale_program(), "hand", parse_target("opencl"), tmp_path / "bundle")
    return Runner(read_bundle(tmp_path / "bundle", "opencl"), place)


def test_a_step_that_cannot_pause_stands_between_two_that_can(runner: Runner) -> None:
    x, w = drawn((16, 4)), np.array([1, 2, 3, 4], np.float32)
    wanted = (x * w + 1) * w
    np.testing.assert_array_equal(runner.infer({"x": x})["y"], wanted)
    np.testing.assert_array_equal(runner.infer({"x": x}, width=3)["y"], wanted)
    runner.begin({"x": x})
    runner.pause()
    assert runner.resume(2) is None
    runner.clear()
    answer = runner.resume(2)
    assert answer is not None
    np.testing.assert_array_equal(answer["y"], wanted)


@pytest.mark.parametrize(
    "given", [{}, {"x": np.zeros((16, 4))}, {"x": np.zeros((4, 16), np.float32)}]
)
def test_wrong_inputs(runner: Runner, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="input 'x'"):
        runner.infer(given)


@pytest.mark.parametrize("model", MODELS)
def test_outputs_are_those_of_onnxruntime(
    model: str, place: Any, bundle_of: Callable[[str], tuple[Path, Path]]
) -> None:
    path, folder = bundle_of(model)
    runner = Runner(read_bundle(folder, "opencl"), place)
    inputs = {spec.name: drawn(spec.shape, seed=3) for spec in runner.inputs}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = dict(zip(names, session.run(names, inputs), strict=True))
    plain = runner.infer(inputs)
    assert plain.keys() == wanted.keys()
    for name, one in wanted.items():
        assert plain[name].shape == one.shape
        assert np.abs(plain[name] - one).max() <= 1e-4 * np.abs(one).max()
    runner.begin(inputs)
    paused, answer = 0, None
    for delay_s in [1e-4, 5e-4, 1e-3, 2e-3, 5e-3, None]:
        runner.clear()
        timer = threading.Timer(delay_s or 0, runner.pause if delay_s else lambda: None)
        timer.start()
        answer = runner.resume(2)
        timer.join()
        if answer is not None:
            break
        paused += 1
    assert paused > 0
    assert answer is not None
    for name, one in plain.items():
        assert answer[name].tobytes() == one.tobytes(), "a pause changed the result"


def test_refusals(tmp_path: Path, place: Any) -> None:
    with pytest.raises(DeviceError, match="no OpenCL device 99"):
        open_place(99)
    with pytest.raises(DeviceError, match="does not build"):
        place.device.build(Code("__kernel void k("), "k")
    cuda = scale_program()._replace(kernels=())
    write_bundle(cuda, "hand", parse_target("cuda:sm_87"), tmp_path / "cuda")
    with pytest.raises(ModelError, match="this device runs 'opencl'"):
        read_bundle(tmp_path / "cuda", "opencl")
