"""On a real NVIDIA GPU, where there is one: numbers, forms, pauses, graphs and a network."""

from pathlib import Path

import numpy as np
import pytest

from cotenant.bench.kernel_trial import Trial
from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.elastic import make_elastic
from cotenant.compiler.nvrtc import assemble
from cotenant.compiler.program import Program, parse_target
from cotenant.compiler.source import Language
from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import DeviceError
from cotenant.device.bundle import Bundle, Code, read_bundle
from cotenant.device.cuda.driver import devices, open_place
from cotenant.device.cuda.nvrtc import available
from cotenant.device.elastic.place import Place, with_sides
from cotenant.device.elastic.ready import make_ready
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.runner import Runner
from cotenant.device.elastic.stages import recorded
from cotenant.device.elastic.workers import NoWorkers
from tests.compiler.kernels import scale_program
from tests.device.cuda.programs import in_cuda
from tests.device.elastic.events import random_words
from tests.device.elastic.inferences import (
    check_outputs,
    check_scaling,
    drawn,
    infer_with_pauses,
    zoo_program,
)
from tests.device.elastic.programs import branched, branching_program, spin_program, spun
from tests.device.elastic.stopping import TILES, stopped, stopping_program

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


def test_numbers_and_a_pause(place: Place, tmp_path: Path) -> None:
    check_scaling(Runner(bundled(in_cuda(scale_program()), tmp_path), place), drawn((16, 4)))


def test_pauses_at_any_time_change_nothing(place: Place, tmp_path: Path) -> None:
    runner = Runner(bundled(in_cuda(spin_program(tiles=4096)), tmp_path), place)
    x = random_words(4096 * 4, seed=1)
    answer = infer_with_pauses(runner, {"x": x}, width=8)
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
    for seed in range(3):
        x = random_words(64, seed)
        one.feed(wide.queue, {"x": x})
        wide.queue.replay(recording)
        answer, copies = one.fetch(wide.queue)
        copies[0].wait()
        np.testing.assert_array_equal(answer["y"], branched(x))


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("width", [1, 7])
def test_after_the_flag_no_tile_is_lost_or_done_twice(
    width: int, at_once: bool, place: Place, tmp_path: Path
) -> None:
    one = Resident(bundled(in_cuda(stopping_program()), tmp_path), place)
    workers = NoWorkers(MonotonicClock())
    for at in (0, 13, TILES - 1):
        sums, _ = stopped(one, place, workers, at=at, width=width, at_once=at_once)
        assert sums == [1] * TILES


@pytest.mark.timeout(900)
def test_a_network(place: Place, tmp_path: Path) -> None:
    path, program = zoo_program("squeezenet", parse_target(devices()[0].target), tmp_path)
    runner = Runner(bundled(program, tmp_path), with_sides(place, 3))
    inputs = {one.name: drawn(one.shape, seed=2) for one in runner.inputs}
    check_outputs(runner.infer(inputs), path, inputs)
