"""The best-effort side on a real device: how far it goes once the pause word is set."""

import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotenant.compiler.program import Kernel, Program, Step
from cotenant.core.clock import MonotonicClock
from cotenant.core.model import TensorSpec
from cotenant.device.arena import Arena
from cotenant.device.bundle import read_bundle
from cotenant.device.cpu.scheduling import Rung
from cotenant.device.elastic.best_effort import BestEffortSide
from cotenant.device.elastic.board import Board, Shared
from cotenant.device.elastic.pause import PauseWord
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.tenant import Order, Tenant
from cotenant.device.opencl.workers import Workers
from cotenant.device.sharing import DeviceView, Form, KernelView, Moment, Shard
from tests.compiler.kernels import STOPS_ITSELF
from tests.device.elastic.programs import bundled

TILES = 40


class Watching:
    """Asks for all that is left, and keeps what it was shown."""

    pauses = True
    critical_first = False
    forms = frozenset({Form.PREEMPTIVE})

    def __init__(self, width: int) -> None:
        self.width = width
        self.seen: list[Moment] = []

    def next_shard(self, moment: Moment) -> Shard | None:
        self.seen.append(moment)
        return Shard(Form.PREEMPTIVE, TILES, self.width)


def stopping_program() -> Program:
    """Each tile counts itself; tile `at` sets `word`, as critical work that arrives then would."""
    source = STOPS_ITSELF.replace("const int at)", "__global const int* at)").replace(
        "(int)get_group_id(0) == at)", "(int)get_group_id(0) == at[0])"
    )
    return Program(
        inputs=(TensorSpec("y", "int32", (TILES,)), TensorSpec("at", "int32", (1,))),
        outputs=(TensorSpec("sums", "int32", (TILES,)),),
        input_values=("y", "at"),
        output_values=("y",),
        sizes_bytes={"y": 4 * TILES, "at": 4, "word": 4},
        constants={},
        kernels=(Kernel("stops", source, (TILES, 1, 1), (1, 1, 1), 0),),
        steps=(Step("stops", ("y", "word", "at")),),
        compiler="hand",
    )


@pytest.mark.parametrize("width", [1, 2, 7])
@pytest.mark.parametrize("at", [0, 13, TILES - 1])
def test_after_the_flag_each_block_ends_its_tile_and_begins_no_other(
    width: int, at: int, place: Any, tmp_path: Path
) -> None:
    word, answers = PauseWord(place), queue.SimpleQueue[dict[str, Any]]()
    resident = Resident(
        read_bundle(bundled(stopping_program(), tmp_path, "stops"), "opencl"), place
    )
    (step,) = resident.steps
    y, _, at_buffer = step.arguments
    resident.steps = (step._replace(arguments=(y, word.buffer, at_buffer)),)
    clock = MonotonicClock()
    workers = Workers(frozenset(), Rung.GATED, clock)
    board = Board(Shared(DeviceView(2, 64), word, workers, True, clock))
    rule = Watching(width)
    side = BestEffortSide(place, board, answers.put, word=word, rule=rule, clock=clock)
    threading.Thread(target=side.run, daemon=True).start()
    arena = Arena.create()
    views = (KernelView("stops", TILES, 1, True, None, None),)
    tenant = Tenant(1, "be", False, resident, views, arena)
    inputs = {"y": np.zeros(TILES, np.int32), "at": np.array([at], np.int32)}
    side.submit(Order(tenant, inputs, [], clock.now()))
    message = answers.get(timeout=60)
    (sums,) = arena.read(message["done"]).values()
    assert sums.tolist() == [1] * TILES, "a tile was lost or done twice"
    done = [moment.done for moment in rule.seen]
    assert done[0] == 0
    # Tile `at` was claimed in order, so at most the other blocks' tiles were, too.
    assert all(at + 1 <= count <= at + width for count in done[1:])
    if at + width < TILES:
        assert len(done) == 2, "it did not stop, or more than once"
    arena.close()
