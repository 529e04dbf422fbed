"""A runner and inputs go in; answers come out, with and without pauses, held against right ones.

It knows no device: the tests of every kind of accelerator make their bundles, and ask here.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from cotenant.compiler.program import Program, Target
from cotenant.device.elastic.runner import Runner
from cotenant.graph.zoo import zoo_path

Tensors = Mapping[str, np.ndarray]

_PAUSES_S = (1e-4, 5e-4, 1e-3, 2e-3, 5e-3)


def drawn(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def scaled(x: np.ndarray) -> np.ndarray:
    """What `scale_program`, with any of its variants that are right, makes of x."""
    w = np.array([1, 2, 3, 4], np.float32)
    return (x * w + 1) * w


def check_scaling(runner: Runner, x: np.ndarray) -> np.ndarray:
    """Run `scale_program` plain, narrow, and paused before it begins; the last answer comes out."""
    wanted = scaled(x)
    np.testing.assert_array_equal(runner.infer({"x": x})["y"], wanted)
    np.testing.assert_array_equal(runner.infer({"x": x}, width=3)["y"], wanted)
    runner.begin({"x": x})
    runner.pause()
    assert runner.resume(2) is None
    runner.clear()
    answer = runner.resume(2)
    assert answer is not None
    np.testing.assert_array_equal(answer["y"], wanted)
    return answer["y"]


def infer_with_pauses(runner: Runner, inputs: Tensors, width: int) -> Tensors:
    """The answer of an inference that was paused at several times, at least once before its end."""
    runner.begin(inputs)
    paused = 0
    for delay_s in _PAUSES_S:
        runner.clear()
        timer = threading.Timer(delay_s, runner.pause)
        timer.start()
        answer = runner.resume(width)
        timer.join()
        if answer is not None:
            break
        paused += 1
    else:
        runner.clear()
        answer = runner.resume(width)
    assert paused > 0, "it ended before the first pause"
    assert answer is not None
    return answer


def check_outputs(found: Tensors, model: Path, inputs: Tensors) -> None:
    """Whether they are those of ONNX Runtime: the same names and shapes, and near enough."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = dict(zip(names, session.run(names, dict(inputs)), strict=True))
    assert found.keys() == wanted.keys()
    for name, one in wanted.items():
        assert found[name].shape == one.shape
        assert np.abs(found[name] - one).max() <= 1e-4 * np.abs(one).max()


def zoo_program(name: str, target: Target, folder: Path) -> tuple[Path, Program]:
    """A network of the zoo: its model file, and what it was compiled into."""
    pytest.importorskip("tvm", reason="needs TVM: pip install 'cotenant[compile]'")
    # Not above: these import TVM, an extra, and other tests need this module without it.
    from cotenant.compiler.lower import lower  # noqa: PLC0415
    from cotenant.compiler.unit import UnitCache  # noqa: PLC0415

    path = zoo_path(name, folder)
    program = lower(
        path,
        target,
        shapes={},
        batch=1,
        cache=UnitCache(folder / "units"),
        tell=lambda what, done, total: None,
    )
    return path, program
