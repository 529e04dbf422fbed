"""On a real NVIDIA GPU, where there is one: numbers, forms, pauses, graphs and a network."""

import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from cotenant.bench.kernel_trial import Trial
from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.elastic import make_elastic
from cotenant.compiler.nvrtc import assemble
from cotenant.compiler.program import Program, parse_target
from cotenant.compiler.source import Language
from cotenant.core.errors import DeviceError
from cotenant.device.bundle import Bundle, Code, read_bundle
from cotenant.device.cuda.driver import devices, open_place
from cotenant.device.cuda.nvrtc import available
from cotenant.device.elastic.place import Place, with_sides
from cotenant.device.elastic.ready import make_ready
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.runner import Runner
from cotenant.device.elastic.stages import recorded
from tests.compiler.kernels import scale_program
from tests.device.cuda.programs import in_cuda
from tests.device.elastic.programs import branched, branching_program, spin_program, spun

pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(not available(), reason="needs NVRTC: pip install 'cotenant[ptx]'"),
]


@pytest.fixture(scope="module")
def place() -> Place:
    try:
        return open_place()
    except DeviceError as error:
        pytest.skip(str(error))


def bundled(program: Program, folder: Path) -> Bundle:
    target = parse_target(devices()[0].target)
    architecture = target.architecture or ""
    write_bundle(
        program, "m", target, folder / "b", lambda text, name: assemble(text, name, architecture)
    )
    return read_bundle(folder / "b", "cuda")


def words(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2**32, count, np.uint32)


def test_numbers_and_a_pause(place: Place, tmp_path: Path) -> None:
    runner = Runner(bundled(in_cuda(scale_program()), tmp_path), place)
    x = np.random.default_rng(0).standard_normal((16, 4), np.float32)
    w = np.array([1, 2, 3, 4], np.float32)
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


def test_pauses_at_any_time_change_nothing(place: Place, tmp_path: Path) -> None:
    runner = Runner(bundled(in_cuda(spin_program(tiles=4096)), tmp_path), place)
    x = words(4096 * 4)
    runner.begin({"x": x})
    answer, paused = None, 0
    for delay_s in [1e-4, 5e-4, 1e-3, 2e-3, None]:
        runner.clear()
        timer = threading.Timer(delay_s or 0, runner.pause if delay_s else lambda: None)
        timer.start()
        answer = runner.resume(8)
        timer.join()
        if answer is not None:
            break
        paused += 1
    assert paused > 0
    assert answer is not None
    np.testing.assert_array_equal(answer["y"], spun(x, 60_000))


def test_forms_agree_bit_by_bit(place: Place) -> None:
    program = in_cuda(spin_program(steps=1))
    (kernel,) = program.kernels
    trial = Trial(
        place,
        kernel,
        Code(make_elastic(kernel.source, Language.CUDA).text),
        arguments=program.steps[0].arguments,
        constants={},
        sizes_bytes=program.sizes_bytes,
    )
    assert all(trial.agrees(np.random.default_rng(seed)) for seed in range(5))


@pytest.mark.parametrize("sides", [0, 3])
def test_a_graph_gives_what_single_launches_give(sides: int, place: Place, tmp_path: Path) -> None:
    wide = with_sides(place, sides)
    one = Resident(bundled(in_cuda(branching_program()), tmp_path), wide)
    make_ready(one, wide, frozenset())
    recording = recorded(one, wide)
    assert recording is not None
    for _ in range(3):
        x = words(64)
        one.feed(wide.queue, {"x": x})
        wide.queue.replay(recording)
        answer, copies = one.fetch(wide.queue)
        copies[0].wait()
        np.testing.assert_array_equal(answer["y"], branched(x))


@pytest.mark.timeout(900)
def test_a_network(place: Place, tmp_path: Path) -> None:
    pytest.importorskip("tvm", reason="needs TVM: pip install 'cotenant[compile]'")
    from cotenant.compiler.lower import lower  # noqa: PLC0415
    from cotenant.compiler.unit import UnitCache  # noqa: PLC0415
    from cotenant.graph.zoo import zoo_path  # noqa: PLC0415

    path = zoo_path("squeezenet", tmp_path)
    program = lower(
        path,
        parse_target(devices()[0].target),
        shapes={},
        batch=1,
        cache=UnitCache(tmp_path / "units"),
        tell=lambda what, done, total: None,
    )
    runner = Runner(bundled(program, tmp_path), with_sides(place, 3))
    rng = np.random.default_rng(2)
    inputs = {one.name: rng.standard_normal(one.shape, np.float32) for one in runner.inputs}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = dict(zip(names, session.run(names, inputs), strict=True))
    for name, found in runner.infer(inputs).items():
        assert np.abs(found - wanted[name]).max() <= 1e-4 * np.abs(wanted[name]).max()
