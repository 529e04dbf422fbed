"""Whole bundles on a device: numerics, narrow and paused inferences, and clear refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import parse_target
from cotenant.core.errors import DeviceError, InvalidRequest, ModelError
from cotenant.device.bundle import Code, read_bundle
from cotenant.device.elastic.runner import Runner
from cotenant.device.opencl.driver import open_place
from tests.compiler.kernels import scale_program
from tests.device.elastic.inferences import (
    check_outputs,
    check_scaling,
    drawn,
    infer_with_pauses,
)
from tests.device.elastic.models import MODELS
from tests.device.elastic.programs import bundled


@pytest.fixture
def runner(tmp_path: Path, place: Any) -> Runner:
    return Runner(read_bundle(bundled(scale_program(), tmp_path, "hand"), "opencl"), place)


def test_a_step_that_cannot_pause_stands_between_two_that_can(runner: Runner) -> None:
    check_scaling(runner, drawn((16, 4)))


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
    plain = runner.infer(inputs)
    check_outputs(plain, path, inputs)
    answer = infer_with_pauses(runner, inputs, width=2)
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
