"""The best-effort queue on a real device: what is put behind a kernel that has not ended."""

import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from cotenant.core.clock import MonotonicClock
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
from tests.device.elastic.programs import bundled, spin_program, spun

_TILES, _SPINS, _LANES = 8, 50, 4
_LONG_S = 0.02
"""What the kernels are said to take: far more than may stand behind another."""
_PATIENCE_S = 20.0


class _Opening:
    """Opens the gate when it is asked for the second kernel, and keeps what it was shown."""

    pauses = True
    critical_first = False
    at_once = False
    patience_s = 0.0
    forms = frozenset({Form.PREEMPTIVE, Form.PLAIN})

    def __init__(self, second: Form, gate: Any) -> None:
        self.second = second
        self.gate = gate
        self.seen: list[Moment] = []

    def next_shard(self, moment: Moment) -> Shard | None:
        self.seen.append(moment)
        if len(self.seen) == 1:
            return Shard(Form.PREEMPTIVE, _TILES, 2)
        opened(self.gate)
        return Shard(self.second, _TILES, 2)


def opened(gate: Any) -> None:
    if gate.command_execution_status > 0:
        gate.set_status(0)


@pytest.mark.parametrize("second", [Form.PREEMPTIVE, Form.PLAIN])
def test_the_next_kernel_stands_behind_one_that_has_not_ended(
    second: Form, place: Any, tmp_path: Path
) -> None:
    program = spin_program(steps=2, tiles=_TILES, spins=_SPINS, lanes=_LANES)
    resident = Resident(read_bundle(bundled(program, tmp_path, "spins"), "opencl"), place)
    word, answers = PauseWord(place), queue.SimpleQueue[dict[str, Any]]()
    gate = cl.UserEvent(place.device.context)
    rule, clock = _Opening(second, gate), MonotonicClock()
    workers = Workers(frozenset(), Rung.GATED, clock)
    board = Board(Shared(DeviceView(2, 64), workers, True, clock))
    side = BestEffortSide(place, board, answers.put, word=word, rule=rule, clock=clock)
    arena = Arena.create()
    views = (KernelView("spin", _TILES, _LANES, True, _LONG_S, None),) * 2
    tenant = Tenant(1, "be", False, resident, views, arena, None)
    x = np.arange(_TILES * _LANES, dtype=np.uint32)
    cl.enqueue_barrier(place.queue.native, wait_for=[gate])
    late = threading.Timer(_PATIENCE_S, opened, [gate])  # if nobody asks, nothing hangs
    late.start()
    try:
        side.submit(Order(tenant, {"x": x}, [], clock.now()))
        message = answers.get(timeout=3 * _PATIENCE_S)
    finally:
        late.cancel()
        opened(gate)
    (y,) = arena.read(message["done"]).values()
    result = np.array(y)
    del y
    arena.close()
    assert [moment.in_flight for moment in rule.seen] == [0, 1]
    assert result.tolist() == spun(x, 2 * _SPINS).tolist()
