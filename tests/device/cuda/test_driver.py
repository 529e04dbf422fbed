"""The logic over the CUDA driver: numbers are right, and what the driver refuses is said well."""

import gc
import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotenant.compiler.program import Program
from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import DeviceError
from cotenant.device.arena import Arena
from cotenant.device.bundle import Code, read_bundle
from cotenant.device.cuda import driver as cuda_driver
from cotenant.device.cuda.driver import devices, open_place
from cotenant.device.elastic.board import Board, Shared
from cotenant.device.elastic.critical import CriticalSide
from cotenant.device.elastic.driver import DriverError, Priority, wait_for
from cotenant.device.elastic.place import Place, side_queues, with_sides
from cotenant.device.elastic.queues import open_queues
from cotenant.device.elastic.ready import bandwidth, make_ready, views
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.runner import Runner
from cotenant.device.elastic.stages import launch_stages, recorded
from cotenant.device.elastic.tenant import Order, Recorded, Tenant, as_one
from cotenant.device.elastic.tuner import tune
from cotenant.device.elastic.workers import NoWorkers
from cotenant.device.sharing import DeviceView, Form, KernelView
from tests.compiler.kernels import scale_program, varied_program
from tests.device.cuda.codes import CUresult
from tests.device.cuda.fake import FakeCuda
from tests.device.cuda.machine import Graph
from tests.device.cuda.programs import bundled, stub_compiled, stub_ptx
from tests.device.elastic.inferences import check_scaling, drawn, scaled
from tests.device.elastic.programs import branched, branching_program, spin_program, spun
from tests.device.elastic.stopping import TILES, stopped, stopping_program

DRAWN = np.random.default_rng(3)


@pytest.fixture
def fake() -> FakeCuda:
    return FakeCuda()


@pytest.fixture
def place(fake: FakeCuda) -> Place:
    return open_place(0, fake)


def resident(program: Program, folder: Path, place: Place) -> Resident:
    return Resident(read_bundle(bundled(program, folder, "bundle"), "cuda"), place)


def words(count: int) -> np.ndarray:
    return DRAWN.integers(0, 2**32, count, np.uint32)


def test_a_whole_bundle_in_every_form(place: Place, tmp_path: Path) -> None:
    runner = Runner(read_bundle(bundled(scale_program(), tmp_path, "b"), "cuda"), place)
    x = drawn((16, 4))
    answer = check_scaling(runner, x)
    again = runner.infer({"x": 2 * x})["y"]
    np.testing.assert_array_equal(answer, scaled(x), "a later answer lies in the same memory")
    np.testing.assert_array_equal(again, scaled(2 * x))


@pytest.mark.parametrize("sides", [0, 1, 3])
def test_stages_side_by_side(sides: int, place: Place, tmp_path: Path) -> None:
    runner = Runner(
        read_bundle(bundled(branching_program(), tmp_path, "b"), "cuda"), with_sides(place, sides)
    )
    for _ in range(3):
        x = words(64)
        np.testing.assert_array_equal(runner.infer({"x": x})["y"], branched(x))


def test_critical_launches_become_one_graph(place: Place, fake: FakeCuda, tmp_path: Path) -> None:
    one = resident(branching_program(), tmp_path, place)
    queues = open_queues(place, critical_first=True)
    assert len(queues.critical.sides) == side_queues(place.device) == 3
    make_ready(one, queues.loading, frozenset())
    about = views(one, queues.loading, bandwidth(queues.loading), lambda: None)
    assert all((view.alone_s or 0.0) > 0.0 for view in about)
    recording = recorded(one, queues.critical)
    assert recording is not None
    whole = as_one(about)
    assert whole.alone_s == pytest.approx(sum(view.alone_s or 0.0 for view in about))
    assert whole.name == max(about, key=lambda view: view.alone_s or 0.0).name

    answers = queue.SimpleQueue[dict[str, Any]]()
    board = board_on(place)
    side = CriticalSide(queues.critical, board, MonotonicClock(), answers.put)
    threading.Thread(target=side.run, daemon=True).start()
    arena = Arena.create()
    tenant = Tenant(1, "crit", True, one, about, arena, Recorded({Form.PLAIN: recording}, whole))
    board.expect(1, None)
    fake.launched.clear()
    for _ in range(5):
        x = words(64)
        board.arrive(1)
        side.launch(Order(tenant, {"x": x}, [], 0.0))
        message = answers.get(timeout=60)
        (y,) = arena.read(message["done"]).values()
        np.testing.assert_array_equal(y, branched(x))
        while len(board.critical):
            pass  # the fake goes on when it is asked
    assert fake.launched == ["graph"] * 5
    arena.close()


def test_the_board_sees_a_graph_as_its_longest_kernel(place: Place, tmp_path: Path) -> None:
    one = resident(branching_program(modules=1), tmp_path, place)
    recording = recorded(one, with_sides(place, 2))
    assert recording is not None
    view = KernelView("longest", 16, 4, True, 1.0, None)
    board, arena = board_on(place), Arena.create()
    side = CriticalSide(place, board, MonotonicClock(), lambda message: None)
    tenant = Tenant(1, "crit", True, one, (view,), arena, Recorded({Form.PLAIN: recording}, view))
    board.expect(1, None)
    board.arrive(1)
    side.launch(Order(tenant, {"x": words(64)}, [], 0.0))
    moment = board.moment(view, 0)
    assert moment.critical == view
    assert moment.critical_left_s is not None
    assert 0.0 < moment.critical_left_s <= 1.0
    arena.close()


def test_what_cannot_be_recorded_is_launched_one_by_one(
    place: Place, fake: FakeCuda, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = resident(branching_program(), tmp_path, place)

    def left_alone(queue: Any, sides: Any) -> None:
        gate = queue.marker()
        step = one.steps[0]
        for side in (queue, *sides):
            side.launch(step.kernel.plain, step.kernel.grid, step.kernel.block, step.arguments,
                        () if side is queue else [gate])  # fmt: skip

    assert place.device.record(left_alone, 1) is None
    assert "UNJOINED" in caplog.text

    def waits(queue: Any, sides: Any) -> None:
        queue.finish()

    assert place.device.record(waits, 0) is None
    assert "CAPTURED_EVENT" in caplog.text
    assert fake.live(Graph) == 0
    launch_stages(one, place)
    place.queue.finish()


def board_on(place: Place) -> Board:
    clock = MonotonicClock()
    view = DeviceView(place.width, place.device.unit_threads, place.device.unit_blocks)
    return Board(Shared(view, NoWorkers(clock), True, clock))


@pytest.mark.parametrize("width", [1, 2, 7])
@pytest.mark.parametrize("at", [0, 13, TILES - 1])
def test_after_the_flag_no_tile_is_lost_or_done_twice(
    width: int, at: int, place: Place, tmp_path: Path
) -> None:
    one = resident(stopping_program(), tmp_path, place)
    sums, seen = stopped(one, place, NoWorkers(MonotonicClock()), at=at, width=width)
    assert sums == [1] * TILES
    assert len(seen) <= 2


@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("at", [0, 13, TILES - 1])
def test_a_graph_is_paused_and_goes_on_where_it_was(
    width: int, at: int, place: Place, fake: FakeCuda, tmp_path: Path
) -> None:
    one = resident(stopping_program(), tmp_path, place)
    fake.launched.clear()
    workers = NoWorkers(MonotonicClock())
    sums, seen = stopped(one, place, workers, at=at, width=width, at_once=True)
    assert sums == [1] * TILES
    assert fake.launched == ["stops_preemptive", *["graph"] * len(seen)]  # kept, then replayed
    assert len(seen) <= 2


def test_every_thread_gets_the_context(place: Place) -> None:
    failed: list[BaseException] = []

    def use() -> None:
        try:
            place.device.queue(Priority.HIGH).marker().wait()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert not failed


def test_nothing_stays_behind(place: Place, fake: FakeCuda, tmp_path: Path) -> None:
    before = fake.allocated
    one = resident(spin_program(), tmp_path, place)
    make_ready(one, place, frozenset(Form))
    recording = recorded(one, place)
    assert recording is not None
    assert fake.allocated > before
    del one, recording
    gc.collect()
    assert fake.allocated == before
    assert fake.live(Graph) == 0


def test_a_kernel_that_fails_breaks_the_context_and_says_so(place: Place, tmp_path: Path) -> None:
    one = resident(spin_program(steps=1), tmp_path, place)
    (step,) = one.steps
    wild = step.arguments[0].part(1 << 40, 4)
    event = place.queue.launch(step.kernel.plain, step.kernel.grid, step.kernel.block, (wild, wild))
    with pytest.raises(DriverError, match="CUDA_ERROR_ILLEGAL_ADDRESS") as caught:
        event.wait()
    assert caught.value.lost
    assert event.ended, "an error ends a kernel as well"
    with pytest.raises(DriverError) as again:
        wait_for(one.feed(place.queue, {"x": words(256)}))
    assert again.value.lost


def test_wrong_launches_are_refused(place: Place, tmp_path: Path) -> None:
    one = resident(spin_program(steps=1), tmp_path, place)
    (step,) = one.steps
    kernel = step.kernel.plain
    with pytest.raises(DriverError, match="takes 2 arguments, not 3"):
        place.queue.launch(kernel, (1, 1, 1), (4, 1, 1), (*step.arguments, np.uint32(1)))
    with pytest.raises(DriverError, match="OUT_OF_RESOURCES") as caught:
        place.queue.launch(kernel, (1, 1, 1), (2048, 1, 1), step.arguments)
    assert not caught.value.lost
    with pytest.raises(DriverError, match="INVALID_VALUE"):
        place.queue.launch(kernel, (0, 1, 1), (4, 1, 1), step.arguments)


def test_a_block_over_the_limit_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    place = open_place(0, FakeCuda(most_threads=2))
    with pytest.raises(DeviceError, match="blocks of 4 threads"):
        resident(spin_program(), tmp_path, place)


def test_a_bundle_for_a_newer_device(tmp_path: Path) -> None:
    folder = bundled(spin_program(), tmp_path, "b", sm=87)
    with pytest.raises(DeviceError, match=r"compiled for sm_87.*is sm_75.*--target cuda:sm_75"):
        Resident(read_bundle(folder, "cuda"), open_place(0, FakeCuda(sm=75)))
    Resident(read_bundle(folder, "cuda"), open_place(0, FakeCuda(sm=90)))


def test_too_little_memory(tmp_path: Path) -> None:
    place = open_place(0, FakeCuda(memory_bytes=1024))
    with pytest.raises(DeviceError, match=r"needs \d+ bytes .* has 1024 .*OUT_OF_MEMORY"):
        resident(spin_program(), tmp_path, place)


def test_ptx_that_is_too_new_gives_way_to_the_source(
    fake: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_place(0, fake)
    fake.refuses_ptx = CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION

    def newer(source: str, name: str, architecture: str) -> Any:
        fake.refuses_ptx = None
        return stub_compiled(source, name, architecture)

    monkeypatch.setattr(cuda_driver, "compiled", newer)
    x = words(256)
    folder = bundled(spin_program(steps=1), tmp_path, "b")
    found = Runner(read_bundle(folder, "cuda"), place).infer({"x": x})
    np.testing.assert_array_equal(found["y"], spun(x, 20_000))


def test_without_ptx_and_without_nvrtc(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cotenant.device.cuda.nvrtc._paths", lambda: ())
    folder = bundled(spin_program(), tmp_path, "b", ptx=False)
    with pytest.raises(DeviceError, match=r"no PTX of kernel 'spin'.*cotenant\[ptx\]"):
        Resident(read_bundle(folder, "cuda"), place)


def test_damaged_ptx_brings_the_drivers_log(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    code = Code("no source", stub_ptx("").replace(b".target sm_80", b""))
    with pytest.raises(DeviceError, match=r"Missing \.target directive"):
        place.device.build(code, "k")


def test_tuning(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "compiled", stub_compiled)
    bundle = read_bundle(bundled(varied_program(), tmp_path, "b"), "cuda")
    rng = np.random.default_rng(0)
    table = tune(bundle, place, rounds=1, rng=rng, tell=lambda *one: None)
    assert set(table.kernels) == {"scale", "waits"}
    scale = table.kernels["scale"]
    # The fake computes by name: a schedule of half the threads leaves half undone.
    assert set(scale.schedules) == {"default", "wrong", "broken"}
    assert "differ" in scale.refused["two"]
    assert (table.device, table.driver) == place.here
    assert scale.widths
    assert len(scale.costs) == len(scale.widths)


def test_what_is_listed(fake: FakeCuda) -> None:
    (one,) = devices(fake)
    assert one == ("CUDA: Fake Orin", 4, 1 << 28, "cuda:sm_87")


def test_a_device_that_is_not_there(fake: FakeCuda) -> None:
    with pytest.raises(DeviceError, match="no CUDA device 3; 1 found"):
        open_place(3, fake)


def test_without_a_driver(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(flags: int) -> Any:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    monkeypatch.setattr(fake, "cuInit", missing)
    with pytest.raises(DeviceError, match=r"libcuda.*install NVIDIA's driver.*kind: opencl"):
        open_place(0, fake)


def test_a_driver_that_does_not_start(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    none = CUresult.CUDA_ERROR_NOT_INITIALIZED
    monkeypatch.setattr(fake, "cuInit", lambda flags: (none,))
    with pytest.raises(DeviceError, match=r"no CUDA driver here: .*NOT_INITIALIZED"):
        open_place(0, fake)


def test_a_function_that_an_older_driver_does_not_have(
    place: Place, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(start: Any, end: Any) -> Any:
        raise RuntimeError('Function "cuEventElapsedTime_v2" not found')

    monkeypatch.setattr(fake, "cuEventElapsedTime", missing)
    timed = place.device.queue(timed=True)
    event = timed.fill(place.device.buffer(4), 0, 4)
    event.wait()
    with pytest.raises(DriverError, match="install the cuda-bindings of this driver's version"):
        _ = event.lasted_s


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(DeviceError, match=r"pip install 'cotenant\[cuda\]'"):
        open_place(0)
