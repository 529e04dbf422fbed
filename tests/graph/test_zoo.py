"""Every network of the zoo: known sizes, sane numbers, any batch, the same file everywhere.

The `onnx` package ships reference outputs beside its architectures; they belong to constant
weights, so they say nothing about drawn ones and are not used here.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cotenant.core.errors import ModelError
from cotenant.graph.flops import model_flops
from cotenant.graph.load import check_model
from cotenant.graph.read import read_model
from cotenant.graph.wire import model_size_bytes
from cotenant.graph.zoo import ZOO, zoo_blueprint, zoo_cached, zoo_path
from tests.graph.conftest import session_of

pytestmark = pytest.mark.xdist_group("zoo")

MODEST = sorted(set(ZOO) - {"alexnet", "vgg19", "zfnet512"})

# Parameters (in millions, with batch-norm statistics) and multiply-adds (in billions) as
# published for these networks at 224x224; the tolerance is the last digit that is given.
PUBLISHED = {
    "alexnet": (60.97, 0.005, 0.66, 0.01),  # Caffe's, with two groups
    "cifarnet": (0.1456, 0.0001, 0.0123, 0.0001),
    "densenet121": (8.06, 0.09, 2.83, 0.04),
    "inception_v1": (7.0, 0.01, 1.43, 0.01),
    "inception_v2": (11.2, 0.1, 2.0, 0.05),
    "resnet50": (25.6, 0.05, 4.1, 0.02),
    "squeezenet": (1.2355, 0.0001, 0.35, 0.005),  # version 1.1
    "vgg19": (143.67, 0.005, 19.63, 0.01),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_operations_are_the_published_ones(name: str) -> None:
    millions, near, billions, close = PUBLISHED[name]
    plan = zoo_blueprint(name)
    assert plan.parameters / 1e6 == pytest.approx(millions, abs=near)
    assert model_flops(plan.skeleton()) / 2e9 == pytest.approx(billions, abs=close)


@pytest.mark.parametrize(("name", "gates"), [("gru", 3), ("lstm", 4)])
def test_operations_of_recurrent_networks(name: str, gates: int) -> None:
    layer = 25 * gates * 512 * (512 + 512)
    assert model_flops(zoo_blueprint(name).skeleton()) == 2 * (2 * layer + 512 * 128)


@pytest.mark.parametrize("name", ZOO)
def test_file_runs_alike_in_any_batch(
    name: str, zoo_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = zoo_path(name, zoo_cache)
    check_model(path)
    session = session_of(path)
    (put,) = session.get_inputs()
    rng = np.random.default_rng(1)
    batch = rng.standard_normal([3 if name in MODEST else 2, *put.shape[1:]], dtype=np.float32)
    (together,) = session.run(None, {put.name: batch})
    (alone,) = session.run(None, {put.name: batch[:1]})
    assert np.isfinite(together).all()
    # The same input gives the same answer alone and in a batch; another gives another one.
    np.testing.assert_allclose(together[:1], alone, rtol=1e-4, atol=1e-7)
    scale = np.abs(together).max()
    assert np.abs(together[0] - together[1]).max() > 1e-3 * scale
    # Neither constant nor saturated: no class takes all.
    assert together[0].std() > 0.01 * scale
    assert put.name == "data_0" or together.max() < 0.99
    assert capfd.readouterr().err == "", "ONNX Runtime warns about this file"


@pytest.mark.parametrize("name", MODEST)
def test_file_is_clean(name: str, zoo_cache: Path) -> None:
    path = zoo_path(name, zoo_cache)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert path.stat().st_size == model_size_bytes(zoo_blueprint(name).skeleton())
    weights = {tensor.name for tensor in model.graph.initializer}
    assert len(weights) == len(model.graph.initializer)
    assert weights <= {read for node in model.graph.node for read in node.input}
    assert not weights & {value.name for value in model.graph.input}
    assert {"ConstantOfShape", "Unsqueeze"}.isdisjoint(node.op_type for node in model.graph.node)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            (variance,) = (t for t in model.graph.initializer if t.name == node.input[4])
            assert numpy_helper.to_array(variance).min() > 0.5


def test_one_seed_one_file_in_any_interpreter(zoo_cache: Path, tmp_path: Path) -> None:
    program = (
        "import sys, hashlib\n"
        "from pathlib import Path\n"
        "from cotenant.graph.zoo import zoo_path\n"
        "for name in ('squeezenet', 'cifarnet', 'gru'):\n"
        "    content = zoo_path(name, Path(sys.argv[1])).read_bytes()\n"
        "    print(name, hashlib.sha256(content).hexdigest())\n"
    )
    answers = set()
    for number in ("1", "2"):
        command = [sys.executable, "-c", program, str(tmp_path / number)]
        environment = {**os.environ, "PYTHONHASHSEED": number, "OMP_NUM_THREADS": number}
        answers.add(subprocess.check_output(command, text=True, env=environment, timeout=60))
    (answer,) = answers
    for line in answer.splitlines():
        name, digest = line.split()
        assert hashlib.sha256(zoo_path(name, zoo_cache).read_bytes()).hexdigest() == digest


def test_weights_never_change(zoo_cache: Path) -> None:
    # The promise of the zoo. If a change here is meant, raise `_RECIPE` in graph/zoo.py: files
    # of the old kind may lie in caches, and records of measurements name them.
    digest = hashlib.sha256()
    for payload in read_model(zoo_path("cifarnet", zoo_cache)).payloads:
        for piece in payload.pieces:
            digest.update(piece)
    assert digest.hexdigest() == "5bb48e963a2e94f8d44c80e46ace4d0cfd9bdc93b972425843d997f79c113e63"


def test_another_seed_is_another_file(tmp_path: Path) -> None:
    first, second = zoo_path("cifarnet", tmp_path), zoo_path("cifarnet", tmp_path, seed=1)
    assert first != second
    assert first.read_bytes() != second.read_bytes()
    assert zoo_cached("cifarnet", tmp_path, seed=1)
    assert not zoo_cached("cifarnet", tmp_path, seed=2)


def test_damaged_file_is_made_again(tmp_path: Path) -> None:
    path = zoo_path("cifarnet", tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert zoo_path("cifarnet", tmp_path).read_bytes() == content


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("resnet-50", "resnet50"), ("VGG19", "vgg19"), ("squeezent", "squeezenet")],
)
def test_unknown_name_is_answered_with_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(ModelError, match=f"no model '{given}'; did you mean 'zoo:{nearest}'"):
        zoo_path(given)


def test_unknown_name_without_a_near_one_is_answered_with_all() -> None:
    with pytest.raises(ModelError, match=r"there is alexnet, cifarnet, .*, zfnet512"):
        zoo_path("q")
