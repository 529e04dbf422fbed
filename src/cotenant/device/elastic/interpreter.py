"""The program that holds one device: loads and launches come in over a socket.

It runs in an interpreter of its own, because a driver is foreign code and a bundle holds
foreign kernels: whatever they do, the front and the other components go on. One context holds
all bundles, so that kernels of different models share the device. Messages are JSON; tensors
travel in one shared memory for each task, whose descriptor comes with the order to load.

    -> {"open": {...}}                        <- {"opened": name} | {"unusable": text}
    -> {"load": {...}} and a descriptor       <- {"seat", "loaded"} | {"seat", "unloadable"}
    -> {"run": [places], "seat"}              <- {"seat", "done", ...} | {"seat", "invalid"}
                                                 | {"seat", "failed"}
    -> {"unload": seat}
    -> {"limit": {"width", "duty"}}
                                              <- {"pause_s": seconds}, after each pause
                                              <- {"hung": {"task", "kernel", "after_s"}}

A seat is the number of one load of a task: a task may be loaded again while the last one ends.

Each kind of device has a program of its own, which calls `serve`.

Threads: this one receives, and queues critical kernels itself; one waits for their ends; one
launches best-effort kernels; one loads; one watches for kernels that hang.
"""

import contextlib
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from cotenant.core.clock import MonotonicClock
from cotenant.core.errors import CotenantError
from cotenant.device.arena import MESSAGE_BYTES, Arena
from cotenant.device.base import Allowance
from cotenant.device.bundle import read_bundle
from cotenant.device.cpu.scheduling import Rung, enter_critical
from cotenant.device.elastic.best_effort import BestEffortSide
from cotenant.device.elastic.board import Board, Shared
from cotenant.device.elastic.critical import CriticalSide
from cotenant.device.elastic.driver import DriverError, Workers
from cotenant.device.elastic.kind import Kind
from cotenant.device.elastic.pause import PauseWord
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.queues import Queues, open_queues
from cotenant.device.elastic.ready import bandwidth, make_ready, views
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.rule import from_values
from cotenant.device.elastic.tenant import (
    Answer,
    Message,
    Order,
    Tenant,
    lost,
)
from cotenant.device.elastic.warm import warm_apart
from cotenant.device.elastic.watchdog import Watchdog
from cotenant.device.sharing import DeviceView, Form, Sharing

_LOOK_EVERY_S = 0.1
_CALM_S = 0.005
_LAUNCHING = 64
"""Order of the threads that launch, among critical ones."""
_SWITCH_S = 0.0001
"""How long a thread may keep the interpreter from one that launches critical work, or leaves."""


class Opened(NamedTuple):
    """A device that was opened for `serve`."""

    place: Place
    workers: Workers


Opener = Callable[[int, Rung], Opened]
"""Number of a device, and the highest class of its threads."""


class _Loading(NamedTuple):
    order: dict[str, Any]
    arena: Arena


class _Machine:
    """One device with all that runs on it."""

    def __init__(
        self, kind: Kind, number: int, opened: Opened, rule: Sharing, answer: Answer
    ) -> None:
        place, workers = opened
        self._kind, self._number = kind, number
        self._rule, self._answer, self._clock = rule, answer, MonotonicClock()
        self._workers = workers
        device = place.device
        view = DeviceView(place.width, device.unit_threads, device.unit_blocks)
        self._board = Board(Shared(view, workers, rule.pauses, self._clock))
        self._queues: Queues = open_queues(place, rule.critical_first)
        self._bandwidth: float | None = None
        """Of the device; measured with the first load."""
        self._serving = False
        """Critical requests have come."""
        self._critical = CriticalSide(self._queues.critical, self._board, self._clock, answer)
        self._only = self._side() if device.processor else None
        """The side of all best-effort tasks, where one inference fills the device."""
        self._sides: dict[int, BestEffortSide] = {}
        """By seat."""
        self._tenants: dict[int, Tenant] = {}
        self._left: set[int] = set()
        """Seats that were unloaded before they had loaded."""
        self._loading: queue.SimpleQueue[_Loading] = queue.SimpleQueue()

    def start_loading(self) -> None:
        """To be called before the calling thread takes a class above the ordinary."""
        threading.Thread(target=self._load_all, daemon=True).start()

    def start(self) -> None:
        for run in (self._critical.run, self._watch):
            threading.Thread(target=run, daemon=True).start()

    def run(self, seat: int, places: list[Any]) -> None:
        tenant, start_s = self._tenants[seat], self._clock.now()
        if tenant.critical:
            self._board.arrive(seat)
            self._serving = True
            if self._only is not None:
                # Launching takes a core, and perhaps the one on which the last tile has to end.
                with contextlib.suppress(DriverError):  # of its own side, which tells it
                    self._board.wait_for_flagged()
        order = Order(tenant, tenant.arena.read(places), places, start_s)
        (self._critical.launch if tenant.critical else self._sides[seat].submit)(order)

    def load(self, order: dict[str, Any], arena: Arena) -> None:
        self._loading.put(_Loading(order, arena))

    def unload(self, seat: int) -> None:
        self._board.forget(seat)
        if self._tenants.pop(seat, None) is None:
            self._left.add(seat)
        self._close(self._sides.pop(seat, None))

    def limit(self, width: int, duty: float) -> None:
        self._board.allowance = Allowance(width, duty)

    def _load_all(self) -> None:
        while True:
            order, arena = self._loading.get()
            if order["seat"] in self._left:
                continue
            try:
                self._answer({"seat": order["seat"], "loaded": self._load(order, arena)})
            except (CotenantError, OSError) as error:
                self._answer({"seat": order["seat"], "unloadable": str(error)} | lost(error))

    def _load(self, order: dict[str, Any], arena: Arena) -> Message:
        critical, place = order["critical"], self._queues.loading
        forms = frozenset[Form]() if critical else self._rule.forms
        if self._serving:
            warm_apart(self._kind, self._number, order["bundle"], forms)
        resident = Resident(read_bundle(Path(order["bundle"]), self._kind.name), place)
        make_ready(resident, place, forms, self._calm)
        with self._board.timing():
            if self._bandwidth is None:
                self._bandwidth = bandwidth(place)
            about = views(resident, place, self._bandwidth, self._calm)
        seat = order["seat"]
        side = None if critical else self._only or self._side()
        kept = (side or self._critical).recorded(resident, about)
        if seat in self._left:
            self._close(side)
        else:
            if critical:
                self._board.expect(seat, order["period_s"])
            if side is not None:
                self._sides[seat] = side
            self._tenants[seat] = Tenant(
                seat, order["task"], critical, resident, about, arena, kept
            )
        return {
            "inputs": [(one.name, one.dtype, one.shape) for one in resident.inputs],
            "outputs": [(one.name, one.dtype, one.shape) for one in resident.outputs],
            "fallbacks": resident.fallbacks,
        }

    def _side(self) -> BestEffortSide:
        return BestEffortSide(
            self._queues.best_effort(),
            self._board,
            self._answer,
            word=PauseWord(self._queues.loading),
            rule=self._rule,
            clock=self._clock,
        )

    def _close(self, side: BestEffortSide | None) -> None:
        if side is not None and side is not self._only:
            side.close()

    def _calm(self) -> None:
        """Loading a model is nobody's urgent concern: wait while critical work is there."""
        while self._board.busy:
            self._board.rest(_CALM_S)

    def _watch(self) -> None:
        pause = threading.Event()
        dog = Watchdog(self._board.critical, self._board.best_effort)
        hung = None
        while hung is None:
            pause.wait(_LOOK_EVERY_S)
            hung = dog.look(self._clock.now(), self._workers.ran_s())
        self._answer({"hung": hung._asdict()})


def serve(channel_fd: int, kind: Kind, opener: Opener) -> None:
    """Serve until the other side closes the socket."""
    # Ctrl-C in a terminal reaches every process of the group; the front decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_S)
    channel = socket.socket(fileno=channel_fd)
    sending = threading.Lock()

    def answer(message: Message) -> None:
        try:
            with sending:
                channel.send(orjson.dumps(message))
        except OSError:  # the front is gone, and with it the reason to be here
            os._exit(0)
        if "lost" in message:  # the front starts a new interpreter, and loads all tasks again
            os._exit(1)

    machine: _Machine | None = None
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 1)
        if not message:
            os._exit(0)  # whatever the device is doing
        order = orjson.loads(message)
        if "open" in order:
            machine = _open(order["open"], kind, opener, answer)
        elif machine is None:
            continue
        elif "run" in order:
            machine.run(order["seat"], order["run"])
        elif "load" in order:
            machine.load(order["load"], Arena(descriptors[0]))
        elif "unload" in order:
            machine.unload(order["unload"])
        else:
            machine.limit(**order["limit"])


def _open(order: dict[str, Any], kind: Kind, opener: Opener, answer: Answer) -> _Machine | None:
    try:
        number, rule = order["device"], from_values(order["rule"])
        isolated, rung = order["isolated"], Rung(order["rung"])
        opened = opener(number, rung if isolated else Rung.GATED)
        machine = _Machine(kind, number, opened, rule, answer)
    except CotenantError as error:
        answer({"unusable": str(error)})
        return None
    machine.start_loading()
    if isolated:
        # Those that launch must not stand behind the threads of a device that is a processor.
        enter_critical(rung, _LAUNCHING)
    machine.start()
    answer({"opened": opened.place.name})
    return machine
