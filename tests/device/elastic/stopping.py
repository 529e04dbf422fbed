"""A device goes in; how far a best-effort inference went once the pause word was set comes out."""

import queue
from typing import Any, NamedTuple

import numpy as np

from cotenant.compiler.program import Kernel, Program, Step
from cotenant.core.clock import MonotonicClock
from cotenant.core.model import TensorSpec
from cotenant.device.arena import Arena
from cotenant.device.elastic.best_effort import BestEffortSide
from cotenant.device.elastic.board import Board, Shared
from cotenant.device.elastic.driver import Workers
from cotenant.device.elastic.pause import PauseWord
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.tenant import Order, Tenant
from cotenant.device.sharing import DeviceView, Form, KernelView, Moment, Shard
from tests.compiler.kernels import STOPS_ITSELF

TILES = 40


class Stopped(NamedTuple):
    """One inference that was stopped by itself."""

    sums: list[int]
    """How often each tile was done."""
    seen: list[Moment]
    """What the rule was shown, turn by turn."""


class _Watching:
    """Asks for all that is left, and keeps what it was shown."""

    pauses = True
    critical_first = False
    forms = frozenset({Form.PREEMPTIVE})

    def __init__(self, width: int, word: PauseWord, at_once: bool) -> None:
        self.width = width
        self.word = word
        self.at_once = at_once
        self.patience_s = 0.0
        self.seen: list[Moment] = []

    def next_shard(self, moment: Moment) -> Shard | None:
        self.seen.append(moment)
        self.word.clear()  # the device set it itself, and the host need not know
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


def stopped(
    resident: Resident,
    place: Place,
    workers: Workers,
    *,
    at: int,
    width: int,
    at_once: bool = False,
) -> Stopped:
    """Run the program, whose tile `at` asks for a pause; the rule lets it go on each time.

    Args:
        at_once: as the driver keeps it, where it does.
    """
    word, answers = PauseWord(place), queue.SimpleQueue[dict[str, Any]]()
    (step,) = resident.steps
    y, _, at_buffer = step.arguments
    resident.steps = (step._replace(arguments=(y, word.buffer, at_buffer)),)
    clock = MonotonicClock()
    board = Board(Shared(DeviceView(2, 64), workers, True, clock))
    rule = _Watching(width, word, at_once)
    side = BestEffortSide(place, board, answers.put, word=word, rule=rule, clock=clock)
    arena = Arena.create()
    views = (KernelView("stops", TILES, 1, True, None, None),)
    recorded = side.recorded(resident, views)
    rule.seen.clear()
    tenant = Tenant(1, "be", False, resident, views, arena, recorded)
    inputs = {"y": np.zeros(TILES, np.int32), "at": np.array([at], np.int32)}
    side.submit(Order(tenant, inputs, [], clock.now()))
    message = answers.get(timeout=60)
    (sums,) = arena.read(message["done"]).values()
    counts = sums.tolist()
    arena.close()
    return Stopped(counts, rule.seen)
