"""Accelerators of one kind as a device: tasks and launches go in, events come out.

Every component has one interpreter that holds all bundles of its tasks. If it dies, or is ended
because a kernel hangs, whatever was in flight fails, and it is started and loaded again; other
components notice nothing. Starting, hearing and ending an interpreter stand together, since they
change one state, and none is right without the others.
"""

import itertools
import logging
import os
import queue
import selectors
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cotenant.core.errors import CotenantError, DeviceError, LaneLost, ModelError
from cotenant.core.hardware import Capability, Component, allowed_cores
from cotenant.core.model import Signature, TensorSpec
from cotenant.core.request import Request
from cotenant.core.task import Task
from cotenant.device.base import (
    Allowance,
    Completed,
    Event,
    Failed,
    Isolation,
    Loaded,
    LoadFailed,
)
from cotenant.device.bundle import read_bundle
from cotenant.device.contents import is_bundle
from cotenant.device.cpu.apart import Apart
from cotenant.device.cpu.lane import failure
from cotenant.device.cpu.scheduling import Rung, release_children
from cotenant.device.elastic.find import device_of, find_devices
from cotenant.device.elastic.kind import Kind
from cotenant.device.elastic.rule import as_values
from cotenant.device.elastic.site import Site, Tenancy
from cotenant.device.sharing import Sharing

_log = logging.getLogger("cotenant")

_HANGS = 2
"""After so many kernels that hung, with no answer in between, a task is not loaded again."""
_BACKOFF_S = (0.0, 0.1, 0.5, 2.0, 10.0)
"""Pause before a restart, by how often the interpreter has died without a single answer."""
_DIED = "died"


class ElasticDevice:
    """All methods are called from one thread and never block, but for the constructor."""

    def __init__(
        self,
        kind: Kind,
        numbers: Mapping[str, int],
        rule: Sharing,
        rung: Rung,
        isolation: Isolation = Isolation.CLASSES,
    ) -> None:
        """Look for the devices and open a site for each component.

        Args:
            numbers: the device of each component.
            rule: how best-effort kernels share a device with critical ones.

        Raises:
            DeviceError: its driver is missing, or there is no such device.
        """
        found = find_devices(kind)
        self._kind = kind
        isolated = isolation is Isolation.CLASSES
        self._open = {"rule": as_values(rule), "rung": rung, "isolated": isolated}
        self._sites = {
            name: Site(
                Component(
                    name,
                    kind.name,
                    (),
                    Capability.ELASTIC,
                    device_of(kind, found, name, number).units,
                ),
                number,
            )
            for name, number in numbers.items()
        }
        self._tenancies: dict[str, Tenancy] = {}
        self._seats: dict[int, Tenancy] = {}
        """Tenancies by the number of their last load."""
        self._numbers = itertools.count(1)
        self._started: queue.SimpleQueue[tuple[Site, Apart | CotenantError]] = queue.SimpleQueue()
        self._events: list[Event] = []
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.EpollSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._closing = threading.Event()
        self._cores = allowed_cores()

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(site.component for site in self._sites.values())

    def fileno(self) -> int:
        """Readable whenever `poll` has something to say; for an event loop."""
        return self._selector.fileno()

    def lanes(self) -> dict[str, tuple[int | None, int]]:
        """Process number (`None` while it starts) and restarts of each task's interpreter."""
        return {
            name: (None if one.site.apart is None else one.site.apart.pid, one.restarts)
            for name, one in self._tenancies.items()
        }

    def pauses_s(self) -> dict[str, tuple[float, ...]]:
        """Of each component, its last times from the flag until best-effort work had left."""
        return {name: tuple(site.pauses_s) for name, site in self._sites.items()}

    def check(self, task: Task) -> None:
        """Read the task's bundle as `load` would; raises `CotenantError`."""
        refusal = _refusal(self._kind, task)
        if refusal is not None:
            raise refusal
        read_bundle(Path(task.model).expanduser(), self._kind.name)

    def load(self, task: Task, component: str) -> None:
        site = self._sites[component]
        tenancy = self._tenancies[task.name] = Tenancy(task, site)
        refusal = _refusal(self._kind, task)
        if refusal is not None:
            self._say(LoadFailed(task.name, refusal))
            return
        site.tenancies[task.name] = tenancy
        if site.opened and site.apart is not None:
            self._seat(tenancy, site.apart)
        elif not site.starting:
            self._start(site)

    def unload(self, task: str) -> None:
        tenancy = self._tenancies.pop(task)
        tenancy.close()
        site = tenancy.site
        site.tenancies.pop(task, None)
        if self._seats.pop(tenancy.seat, None) is not None and site.apart is not None:
            site.apart.send({"unload": tenancy.seat})

    def launch(self, task: str, requests: Sequence[Request], segment: int) -> None:
        tenancy = self._tenancies[task]
        tenancy.requests = tuple(requests)
        apart, arena = tenancy.site.apart, tenancy.arena
        if apart is None or arena is None:
            return  # it has just died; `poll` said so, or is about to
        inputs = [request.inputs or {} for request in requests]
        places = arena.write({name: [one[name] for one in inputs] for name in inputs[0]})
        apart.send({"run": places, "seat": tenancy.seat})

    def limit(self, component: str, allowance: Allowance) -> None:
        site = self._sites[component]
        site.allowance = allowance
        if site.opened and site.apart is not None:
            site.apart.send({"limit": allowance._asdict()})

    def poll(self) -> Sequence[Event]:
        events: list[Event] = []
        for key, _ in self._selector.select(0):
            if key.fd == self._bell:
                os.eventfd_read(self._bell)
                self._welcome()
            else:
                self._hear(key.data, events)
        events, self._events = self._events + events, []
        return events

    def close(self) -> None:
        self._closing.set()
        for tenancy in self._tenancies.values():
            tenancy.close()
        for site in self._sites.values():
            self._drop(site)
        while not self._started.empty():
            _, apart = self._started.get()
            if isinstance(apart, Apart):
                apart.close()
        self._selector.close()
        os.close(self._bell)

    # --- starting --------------------------------------------------------------------------

    def _start(self, site: Site) -> None:
        site.starting = True
        threading.Thread(target=self._start_apart, args=(site, site.deaths), daemon=True).start()

    def _start_apart(self, site: Site, deaths: int) -> None:
        if self._closing.wait(_BACKOFF_S[min(deaths, len(_BACKOFF_S) - 1)]):
            return
        release_children(self._cores)
        started: Apart | CotenantError
        try:
            started = Apart(f"{self._kind.room}.interpreter")
        except OSError as error:
            started = DeviceError(
                f"component {site.component.name!r}: cannot start its interpreter: {error}; "
                "free some memory"
            )
        self._started.put((site, started))
        if not self._closing.is_set():
            os.eventfd_write(self._bell, 1)

    def _welcome(self) -> None:
        while not self._started.empty():
            site, apart = self._started.get()
            site.starting = False
            if isinstance(apart, CotenantError):
                self._give_up(site, apart)
            else:
                site.apart = apart
                self._selector.register(apart.channel, selectors.EVENT_READ, site)
                apart.send({"open": {**self._open, "device": site.number}})

    def _seat(self, tenancy: Tenancy, apart: Apart) -> None:
        self._seats.pop(tenancy.seat, None)
        tenancy.load(apart, next(self._numbers))
        self._seats[tenancy.seat] = tenancy

    def _give_up(self, site: Site, error: CotenantError) -> None:
        self._drop(site)
        for task in site.tenancies:
            self._say(LoadFailed(task, error))

    def _say(self, event: Event) -> None:
        self._events.append(event)
        os.eventfd_write(self._bell, 1)

    # --- hearing ---------------------------------------------------------------------------

    def _hear(self, site: Site, events: list[Event]) -> None:
        while site.apart is not None:
            try:
                message = site.apart.receive()
            except BlockingIOError:
                return
            if message is None:
                self._mourn(site, events, _DIED)
            elif "pause_s" in message:
                site.pauses_s.append(message["pause_s"])
            elif "opened" in message:
                site.opened = True
                site.apart.send({"limit": site.allowance._asdict()})
                for tenancy in site.tenancies.values():
                    self._seat(tenancy, site.apart)
            elif "unusable" in message:
                error = DeviceError(f"component {site.component.name!r}: {message['unusable']}")
                self._give_up(site, error)
            elif "hung" in message:
                self._end_hung(site, message["hung"], events)
            else:
                self._hear_of(message, events)

    def _hear_of(self, message: dict[str, Any], events: list[Event]) -> None:
        """A message about one task, which may have been unloaded since."""
        tenancy = self._seats.get(message["seat"])
        if tenancy is None:
            return
        task = tenancy.task.name
        if "loaded" in message:
            for kernel, log in message["loaded"]["fallbacks"].items():
                _log.warning("task %r: kernel %r cannot pause here: %s", task, kernel, log)
            tenancy.loaded = True
            events.append(Loaded(task, _signature(message["loaded"])))
        elif "unloadable" in message:
            tenancy.site.tenancies.pop(task, None)
            events.append(LoadFailed(task, ModelError(f"task {task!r}: {message['unloadable']}")))
        elif "done" in message:
            tenancy.site.deaths = tenancy.hangs = 0
            try:
                outputs = tenancy.outputs(message["done"])
            except CotenantError as error:
                events.append(Failed(task, error, lane_lost=False))
                return
            start_s, end_s, busy_s = (message[name] for name in ("start_s", "end_s", "busy_s"))
            events.append(Completed(task, start_s, end_s, busy_s, outputs))
        else:
            events.append(Failed(task, failure(message, task), lane_lost=False))

    def _end_hung(self, site: Site, hung: dict[str, Any], events: list[Event]) -> None:
        task, kernel = hung["task"], hung["kernel"]
        culprit = site.tenancies.get(task)
        what = f"kernel {kernel!r} of task {task!r} did not end in {hung['after_s']:.1f} s"
        if culprit is not None:
            culprit.hangs += 1
        self._mourn(site, events, f"was ended, because {what}")
        if culprit is not None and culprit.hangs >= _HANGS:
            del site.tenancies[task]
            error = ModelError(
                f"{what}, {culprit.hangs} times; it is not loaded again: compile the model anew, "
                "or look at this kernel in its bundle"
            )
            events.append(LoadFailed(task, error))

    def _mourn(self, site: Site, events: list[Event], what: str) -> None:
        self._drop(site)
        name = site.component.name
        for task, tenancy in list(site.tenancies.items()):
            if tenancy.loaded:
                lost = LaneLost(
                    f"task {task!r}: the interpreter of component {name!r} {what}; "
                    "it is being restarted; try again"
                )
                tenancy.restarts += 1
                tenancy.loaded = False
                events.append(Failed(task, lost, lane_lost=True))
            elif site.deaths >= len(_BACKOFF_S):
                del site.tenancies[task]
                events.append(
                    LoadFailed(task, ModelError(f"task {task!r}: component {name!r} {what}"))
                )
        site.deaths += 1
        if site.tenancies:
            self._start(site)

    def _drop(self, site: Site) -> None:
        site.opened = False
        if site.apart is not None:
            self._selector.unregister(site.apart.channel)
            site.apart.close()
            site.apart = None


def _refusal(kind: Kind, task: Task) -> CotenantError | None:
    """Why a task cannot be on a device of this kind at all."""
    path = Path(task.model).expanduser()
    named = task.model.startswith(("zoo:", "python:")) or path.suffix == ".onnx"
    if named or (path.is_file() and not is_bundle(path)):
        return ModelError(
            f"task {task.name!r}: a component of kind {kind.name} runs bundles, and "
            f"{task.model!r} is none; run: cotenant compile {task.model} --target {kind.target} "
            f"-o {task.name}.bundle, "
            f"and write model: {task.name}.bundle"
        )
    if task.segments > 1:
        return ModelError(
            f"task {task.name!r}: a bundle is not cut into segments, since its kernels pause by "
            "themselves; leave segments out"
        )
    return None


def _signature(loaded: dict[str, Any]) -> Signature:
    def specs(nodes: list[tuple[str, str, list[int]]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name, dtype, tuple(shape)) for name, dtype, shape in nodes)

    return Signature(specs(loaded["inputs"]), specs(loaded["outputs"]))
