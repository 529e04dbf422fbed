"""Steps side by side: the same bits as one after the other, and no stage before its time."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotenant.compiler import arena as arena_file
from cotenant.compiler import bundle as bundle_file
from cotenant.compiler.program import Program
from cotenant.compiler.stages import Staged
from cotenant.core.clock import MonotonicClock
from cotenant.device.arena import Arena
from cotenant.device.bundle import read_bundle
from cotenant.device.cpu.scheduling import Rung
from cotenant.device.elastic.board import Board, Shared
from cotenant.device.elastic.critical import CriticalSide
from cotenant.device.elastic.driver import Event
from cotenant.device.elastic.place import SIDE_QUEUES, side_queues, with_sides
from cotenant.device.elastic.queues import open_queues
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.runner import Runner
from cotenant.device.elastic.stages import launch_stages
from cotenant.device.elastic.tenant import Order, Tenant
from cotenant.device.opencl.workers import Workers
from cotenant.device.sharing import DeviceView, KernelView
from tests.device.elastic.inferences import drawn
from tests.device.elastic.models import MODELS
from tests.device.elastic.programs import branched, branching_program, bundled

SIDES = [0, 1, 2, SIDE_QUEUES]


def words(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, 64, np.uint32)


@pytest.mark.parametrize("sides", SIDES)
def test_results_are_right_however_many_queues(sides: int, place: Any, tmp_path: Path) -> None:
    folder = bundled(branching_program(), tmp_path, "branches")
    runner = Runner(read_bundle(folder, "opencl"), with_sides(place, sides))
    for seed in range(20):
        x = words(seed)
        np.testing.assert_array_equal(runner.infer({"x": x})["y"], branched(x))
    np.testing.assert_array_equal(runner.infer({"x": x}, width=2)["y"], branched(x))


def test_without_stages_it_is_the_same(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_a_row(program: Program) -> tuple[Staged, ...]:
        return tuple(Staged(step, number) for number, step in enumerate(program.steps))

    for file in (arena_file, bundle_file):
        monkeypatch.setattr(file, "staged", in_a_row)
    folder = bundled(branching_program(), tmp_path, "row")
    bundle = read_bundle(folder, "opencl")
    assert [step.stage for step in bundle.manifest.steps] == list(range(18))
    runner = Runner(bundle, with_sides(place, SIDE_QUEUES))
    np.testing.assert_array_equal(runner.infer({"x": words(1)})["y"], branched(words(1)))


@pytest.mark.parametrize("sides", SIDES)
def test_a_stage_begins_when_the_one_before_has_ended(
    sides: int, place: Any, tmp_path: Path
) -> None:
    first, *others = (place.device.queue(timed=True) for _ in range(1 + sides))
    timing = place._replace(queue=first, sides=tuple(others))
    folder = bundled(branching_program(), tmp_path, "branches")
    resident = Resident(read_bundle(folder, "opencl"), timing)
    assert [len(stage) for stage in resident.stages] == [1, 3, 1, 1] * 3
    resident.feed(first, {"x": words(0)})
    events: dict[int, Event] = {}
    beside = launch_stages(resident, timing, events.__setitem__)
    assert beside == (0 if sides == 0 else 6)
    first.finish()  # the own queue alone stands behind everything
    assert all(events[number].ended for number in range(18))
    times = {number: event.native.profile for number, event in events.items()}
    for before, stage in zip(resident.stages, resident.stages[1:], strict=False):
        ended = max(times[number].end for number in before)
        assert all(times[number].start >= ended for number in stage)


def test_a_critical_request_uses_side_queues(place: Any, tmp_path: Path) -> None:
    wide, answers = with_sides(place, 2), queue.SimpleQueue[dict[str, Any]]()
    resident = Resident(
        read_bundle(bundled(branching_program(), tmp_path, "branches"), "opencl"), wide
    )
    clock = MonotonicClock()
    workers = Workers(frozenset(), Rung.GATED, clock)
    board = Board(Shared(DeviceView(2, 64), workers, True, clock))
    side = CriticalSide(wide, board, clock, answers.put)
    threading.Thread(target=side.run, daemon=True).start()
    arena = Arena.create()
    views = tuple(KernelView(step.name, 16, 4, True, None, None) for step in resident.steps)
    tenant = Tenant(1, "crit", True, resident, views, arena)
    board.expect(1, None)
    for seed in range(5):
        board.arrive(1)
        side.launch(Order(tenant, {"x": words(seed)}, [], clock.now()))
        message = answers.get(timeout=60)
        (y,) = arena.read(message["done"]).values()
        np.testing.assert_array_equal(y, branched(words(seed)))
        assert len(board.critical) == 0
    arena.close()


def test_a_processor_has_no_side_queues_and_a_graphics_processor_has(place: Any) -> None:
    class Graphics:
        processor = False

    assert side_queues(Graphics()) == SIDE_QUEUES  # type: ignore[arg-type]
    if place.device.processor:
        assert open_queues(place, critical_first=True).critical.sides == ()


@pytest.mark.parametrize("model", MODELS)
def test_a_network_gives_the_same_bits(
    model: str, place: Any, bundle_of: Callable[[str], tuple[Path, Path]]
) -> None:
    bundle = read_bundle(bundle_of(model)[1], "opencl")
    one, many = (Runner(bundle, with_sides(place, sides)) for sides in (0, SIDE_QUEUES))
    for seed in range(3):
        inputs = {spec.name: drawn(spec.shape, seed) for spec in one.inputs}
        wanted, found = one.infer(inputs), many.infer(inputs)
        assert {name: y.tobytes() for name, y in wanted.items()} == {
            name: y.tobytes() for name, y in found.items()
        }
