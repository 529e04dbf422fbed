"""On a device whose slowness beside padding is known, that slowness is the cost that is found.

The device is made up, and so is its time: nothing here depends on the speed of a machine.
"""

import math
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cotenant.device.elastic.background import Background
from cotenant.device.elastic.driver import Priority
from cotenant.device.elastic.launch import Forms
from cotenant.device.elastic.padding import Neighbour, padded_widths
from cotenant.device.elastic.place import place_on

TILES = 64
SLOWER = 0.03
"""By what part the load runs slower for each block of a shard beside it."""
LAUNCH_S, GLANCE_S, TURN_S = 2e-6, 1e-6, 3e-6
"""What a launch and a look take of the host, and what a turn of the load takes of the device."""


class Machine:
    """Runs what heads each queue: side by side, or, with `turns`, first come, first served."""

    language, width, processor = "opencl", 4, False

    def __init__(self, tile_s: float, turns: bool = False) -> None:
        self.tile_s, self.turns = tile_s, turns
        self.now_s = 0.0
        self.queues: list[Queue] = []
        self.launched: list[tuple[str, Priority, bool]] = []

    def queue(self, priority: Priority = Priority.ORDINARY, *, timed: bool = False) -> "Queue":
        self.queues.append(Queue(self, priority, timed))
        return self.queues[-1]

    def build(self, code: Any, name: str) -> Any:
        return SimpleNamespace(kernel=lambda name: name)

    def buffer(self, size_bytes: int) -> None:
        return None

    def pass_s(self, time_s: float) -> None:
        until_s = self.now_s + time_s
        while self.now_s < until_s:
            heads = [queue.standing[0] for queue in self.queues if queue.standing]
            if not heads:
                self.now_s = until_s
                return
            running = [min(heads, key=lambda one: one.ready_s)] if self.turns else heads
            blocks = sum(one.blocks for one in running)
            speeds = [1.0 if one.blocks else 1.0 / (1.0 + SLOWER * blocks) for one in running]
            step_s = min(
                until_s - self.now_s,
                *(one.left_s / speed for one, speed in zip(running, speeds, strict=True)),
            )
            self.now_s += step_s
            for one, speed in zip(running, speeds, strict=True):
                one.run(step_s, speed)


class Queue:
    def __init__(self, machine: Machine, priority: Priority, timed: bool) -> None:
        self.machine, self.priority, self.timed = machine, priority, timed
        self.standing: deque[Event] = deque()

    def launch(self, kernel: str, blocks: Any, block: Any, arguments: Any) -> "Event":
        self.machine.pass_s(LAUNCH_S)
        self.machine.launched.append((kernel, self.priority, self.timed))
        if kernel == "background":
            made = Event(self, 0, float(arguments[1]) * TURN_S)
        else:
            start, stop = map(int, arguments[:2])
            turns = math.ceil((stop - start) / blocks[0])
            made = Event(self, blocks[0], turns * self.machine.tile_s)
        self.standing.append(made)
        return made

    def write(self, buffer: Any, array: Any) -> None:
        pass

    def flush(self) -> None:
        pass

    def finish(self) -> None:
        while self.standing:
            self.standing[-1].wait()


class Event:
    def __init__(self, queue: Queue, blocks: int, work_s: float) -> None:
        self.queue, self.machine = queue, queue.machine
        self.blocks, self.left_s = blocks, work_s
        self.submitted_s = self.ready_s = self.machine.now_s
        self.start_s: float | None = None
        self.end_s: float | None = None

    def run(self, time_s: float, speed: float) -> None:
        now_s = self.machine.now_s
        if self.start_s is None:
            self.start_s = now_s - time_s
        self.left_s -= time_s * speed
        if self.left_s <= 1e-12:
            self.end_s = now_s
            self.queue.standing.popleft()
            if self.queue.standing:
                self.queue.standing[0].ready_s = now_s

    @property
    def ended(self) -> bool:
        self.machine.pass_s(GLANCE_S)
        return self.end_s is not None

    def wait(self) -> None:
        while self.end_s is None:
            self.machine.pass_s(max(1e-7, self.left_s))

    @property
    def lasted_s(self) -> float:
        assert self.end_s is not None
        assert self.start_s is not None
        return self.end_s - self.start_s

    def since_s(self, first: "Event") -> float:
        assert self.end_s is not None
        return self.end_s - first.submitted_s


def forms(tiles: int = TILES, elastic: bool = True) -> Forms:
    names: list[Any] = ["k", "k_static" if elastic else None, None]
    return Forms(*names, (tiles, 1, 1), (64, 1, 1))


def costs(machine: Any, kernel: Forms) -> dict[int, float | None]:
    place = place_on(machine)._replace(queue=machine.queue(timed=True))
    neighbour = Neighbour(place, Background(place))
    draws = (3, np.random.default_rng(1))
    found = padded_widths(place, kernel, (), neighbour, draws)
    assert not any(queue.standing for queue in machine.queues), "something is left behind"
    for one in found:
        assert one.static_s == pytest.approx(
            math.ceil(kernel.tiles / one.width) * machine.tile_s, rel=1e-3
        )
    return {one.width: one.cost for one in found}


# From a kernel far shorter than one launch of the load to one whose every tile is far longer.
@pytest.mark.parametrize("tile_s", [2e-6, 1e-5, 1e-4, 5e-3])
def test_shards_run_as_long_as_the_load_does(tile_s: float) -> None:
    found = costs(Machine(tile_s), forms())
    assert found == pytest.approx({width: SLOWER * width for width in (1, 2, 4)}, abs=1e-3)


def test_kernels_too_short_for_the_host_to_keep_up_cost_less_and_end() -> None:
    found = costs(Machine(1e-7), forms(tiles=4))
    assert set(found) == {1, 2, 4}
    assert all(-1e-3 <= (cost or 0.0) <= SLOWER * width + 1e-3 for width, cost in found.items())


def test_where_kernels_take_turns_long_ones_are_cut_as_a_rule_would() -> None:
    tile_s = 5e-5
    for width, cost in costs(Machine(tile_s, turns=True), forms(tiles=4096)).items():
        # One shard before each launch of the load, about as long as that.
        assert cost == pytest.approx(1.0, abs=0.3), width


def test_only_widths_that_the_kernel_has_tiles_for() -> None:
    assert set(costs(Machine(1e-5), forms(tiles=3))) == {1, 2, 3}
    assert costs(Machine(1e-5), forms(elastic=False)) == {}


def test_the_load_is_queued_as_critical_work_and_the_shards_as_best_effort() -> None:
    machine: Any = Machine(1e-5)
    place = place_on(machine)
    neighbour = Neighbour(place, Background(place))
    padding = neighbour.padding(forms(), (), 2, 32e-5)
    machine.launched.clear()
    neighbour.beside_s(padding)
    assert {one[:2] for one in machine.launched} == {
        ("background", Priority.HIGH), ("k_static", Priority.LOW)
    }  # fmt: skip
    assert all(timed for name, _, timed in machine.launched if name == "background")
