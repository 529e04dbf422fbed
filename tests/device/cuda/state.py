"""Handles, addresses and launches go in; what a driver keeps of them comes out, or its refusal.

Everything is kept and run here; which call of the driver asks for what is in `fake`.
"""

import threading
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from tests.device.cuda import codes
from tests.device.cuda.bodies import BODIES, Body, run_kernel
from tests.device.cuda.machine import Event, Machine, Node, Stream

R = codes.CUresult
_HEADROOM = 1 << 20

Entries = Mapping[str, tuple[int, ...] | None]
"""Bytes of each parameter; `None` where the image does not tell."""


class Module:
    """A module that was loaded."""

    def __init__(self, entries: Entries) -> None:
        self.entries = entries


class Function:
    """A kernel of a module."""

    def __init__(self, module: Module, name: str) -> None:
        self.module = module
        self.name = name
        self.sizes = module.entries[name]
        self.shared_bytes = 48 * 1024


def asked(function: Callable[..., Any]) -> Callable[..., Any]:
    """One call at a time, in a thread with a context, of a device that is whole."""

    @wraps(function)
    def ask(self: "State", *given: Any) -> Any:
        with self._lock:
            self.calls.append(function.__name__)
            if not self._initialised:
                return (R.CUDA_ERROR_NOT_INITIALIZED,)
            if getattr(self._thread, "context", None) is not self._context:
                return (R.CUDA_ERROR_INVALID_CONTEXT,)
            if self.broken is not None:
                return (self.broken,)
            try:
                answer = function(self, *given)
            except Refused as error:
                return (error.code,)
            if self.broken is not None:
                return (self.broken,)
            return (R.CUDA_SUCCESS, *(() if answer is None else (answer,)))

    return ask


class Refused(Exception):
    """What a call answers instead of what it was asked for."""

    def __init__(self, code: R) -> None:
        super().__init__(code)
        self.code = code


class State:
    """A device, and what is known of it."""

    def __init__(
        self,
        *,
        sm: int = 87,
        units: int = 4,
        memory_bytes: int = 1 << 28,
        most_threads: int = 1024,
        bodies: Mapping[str, Body] = BODIES,
        driver: int = 13000,
    ) -> None:
        self._sm, self._units, self._memory_bytes = sm, units, memory_bytes
        self._most_threads, self._bodies, self._driver = most_threads, bodies, driver
        self._lock = threading.RLock()
        self._initialised = False
        self._thread = threading.local()
        self._context: object = object()
        self._machine = Machine()
        self._memory: dict[int, Any] = {}
        """By its address on the device."""
        self._pinned: dict[int, tuple[Any, int]] = {}
        """Of the host: what keeps it, and the device's address."""
        self._next = 0x7000_0000_0000
        self._known: set[object] = set()
        """Handles that were given and are not gone."""
        self.broken: R | None = None
        self.calls: list[str] = []
        self.launched: list[str] = []
        self.refuses_ptx: R | None = None

    def live(self, kind: type) -> int:
        """Handles of a kind that are not gone."""
        return sum(isinstance(one, kind) for one in self._known)

    @property
    def allocated(self) -> int:
        """Blocks of memory that are not gone."""
        return len(self._memory)

    def _given(self, made: Any) -> Any:
        self._known.add(made)
        return made

    def _check(self, handle: Any, kind: type) -> Any:
        if handle not in self._known or not isinstance(handle, kind):
            raise Refused(R.CUDA_ERROR_INVALID_HANDLE)
        return handle

    def _function(self, handle: Any) -> Any:
        function = self._check(handle, Function)
        self._check(function.module, Module)
        return function

    def _waitable(self, handle: Any) -> Any:
        event = self._check(handle, Event)
        if event.captured is not None:
            raise Refused(R.CUDA_ERROR_CAPTURED_EVENT)
        return event

    def _mapped(self, block: Any) -> int:
        address = self._next
        self._next += -(-(block.nbytes + _HEADROOM) // 512) * 512
        self._memory[address] = block
        return address

    def _at(self, address: int, size: int | None = None) -> Any:
        for start, block in self._memory.items():
            offset = address - start
            if 0 <= offset < block.nbytes and (size is None or offset + size <= block.nbytes):
                return block[offset:] if size is None else block[offset : offset + size]
        raise Refused(R.CUDA_ERROR_INVALID_VALUE)

    def _is_pinned(self, address: int, size: int) -> bool:
        return any(
            start <= address and address + size <= start + len(block)
            for start, (block, _) in self._pinned.items()
        )

    def _add(self, handle: Any, run: Callable[[], None]) -> Node | None:
        node: Node | None = self._check(handle, Stream).add(run)
        return node

    def _run(self, function: Any, blocks: tuple[int, int, int], threads: int, bits: Any) -> None:
        try:
            given = [
                _words(self._at(value)) if size == 8 else value
                for value, size in zip(bits, function.sizes, strict=True)
            ]
        except Refused:
            self.broken = R.CUDA_ERROR_ILLEGAL_ADDRESS
            return
        try:
            done = run_kernel(self._bodies, function.name, blocks, threads, given)
        except IndexError:
            self.broken = R.CUDA_ERROR_ILLEGAL_ADDRESS
            return
        self._machine.now_s += 1e-6 * done

    def _run_until(self, node: Node) -> None:
        while not node.done:
            assert self._machine.step(), "it waits for something that will never come"

    def _run_all(self) -> None:
        while self._machine.step():
            pass


def _words(block: Any) -> Any:
    """As much of it as can be seen as words."""
    return block[: len(block) // 4 * 4]
