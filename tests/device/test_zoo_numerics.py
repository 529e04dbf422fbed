"""Every model of the zoo, served by a lane: the numbers are those of the runtime itself."""

import numpy as np
import onnxruntime
import pytest

from cotenant.core.model import ModelFiles
from cotenant.device.base import Completed
from cotenant.device.cpu.device import CpuDevice
from cotenant.device.cpu.scheduling import best_rung
from cotenant.graph.load import resolve_model
from cotenant.graph.zoo import ZOO
from tests.device.test_cpu import load, request, run


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("criticality", ["critical", "best-effort"])
def test_outputs_equal_the_runtime_called_directly(name, criticality):
    path = resolve_model(f"zoo:{name}")
    device = CpuDevice({"cpu": (0, 1)}, lambda task: ModelFiles((str(path),)), best_rung())
    try:
        signature = load(device, path, criticality=criticality).signature
        rng = np.random.default_rng(7)
        inputs = {
            spec.name: rng.standard_normal([size or 1 for size in spec.shape]).astype(spec.dtype)
            for spec in signature.inputs
        }
        done = run(device, request("t", **inputs))
    finally:
        device.close()
    assert isinstance(done, Completed)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for spec, expected in zip(signature.outputs, session.run(None, inputs), strict=True):
        np.testing.assert_array_equal(done.outputs[0][spec.name], expected)
