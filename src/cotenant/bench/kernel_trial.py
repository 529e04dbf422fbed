"""One kernel and a device go in; whether its forms agree, and what they cost, come out.

The plain form is the oracle: an elastic form must leave every byte of every buffer as the
plain one does, whatever the ranges, widths and pauses.
"""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cotenant.compiler.program import Array, Kernel
from cotenant.core.clock import MonotonicClock
from cotenant.device.bundle import Code
from cotenant.device.elastic.driver import Buffer, Event, Queue, Recording
from cotenant.device.elastic.launch import (
    Forms,
    claim_for,
    forms,
    launch_plain,
    launch_preemptive,
    launch_static,
)
from cotenant.device.elastic.pause import PauseWord
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.sampling import mean_s
from cotenant.device.sharing import DeviceView, KernelView
from cotenant.policy.sharing.room import resident

_CUTS_MAX, _PAUSES_MAX, _CLAIM_MAX = 4, 3, 5
_SAMPLE_S = 2e-3  # shorter kernels are launched several times for one sample
_LAUNCHES_MAX = 256


class Costs(NamedTuple):
    """Time that one launch takes on the device in each form, all of the same round."""

    plain_s: float
    static_s: float
    preemptive_s: float


class Trial:
    """A kernel on a device, with buffers of its own."""

    def __init__(
        self,
        place: Place,
        kernel: Kernel,
        code: Code,
        *,
        arguments: tuple[str, ...],
        constants: Mapping[str, Array],
        sizes_bytes: Mapping[str, int],
    ) -> None:
        """Build the kernel and allocate what it takes.

        Args:
            code: the source with elastic forms.
            arguments: values of one step that launches it.
            constants: by value; they keep what they hold.
            sizes_bytes: of the values that are no constants; those are drawn.

        Raises:
            DeviceError: it does not build.
        """
        self._place = place
        program = place.device.build(code, kernel.name)
        self._forms: Forms = forms(
            program, kernel.name, kernel.grid, kernel.block, True, shared_bytes=kernel.shared_bytes
        )
        self._changing: dict[str, Buffer] = {}
        buffers: dict[str, Buffer] = {}
        for name in arguments:
            if name in constants:
                buffers[name] = place.device.constant(np.ascontiguousarray(constants[name]))
            elif name not in buffers:
                size = max(4, -(-sizes_bytes[name] // 4) * 4)
                buffers[name] = place.device.buffer(size)
                self._changing[name] = buffers[name]
        self._arguments = tuple(buffers[name] for name in arguments)
        self._timed = place._replace(queue=place.device.queue(timed=True))
        self._pause = PauseWord(place)
        self._claim = 1
        x, y, z = kernel.block
        view = DeviceView(place.width, place.device.unit_threads, place.device.unit_blocks)
        about = KernelView(kernel.name, self._forms.tiles, x * y * z, True, None, None)
        self._width = min(self._forms.tiles, place.width * resident(view, about))
        apart = max(4, place.device.alignment_bytes)
        self._counters = place.device.buffer(apart * _LAUNCHES_MAX)
        self._words = [self._counters.part(apart * number, 4) for number in range(_LAUNCHES_MAX)]

    def agrees(self, rng: np.random.Generator) -> bool:
        """Whether both elastic forms do what the plain one does, for drawn ranges and pauses."""
        initial = {
            name: rng.standard_normal(buffer.size // 4, np.float32)
            for name, buffer in self._changing.items()
        }
        launch_plain(self._place, self._forms, self._arguments).wait()  # it may be compiled now
        self._reset(initial)
        alone_s = self._once_s()
        wanted = self._contents()
        self._reset(initial)
        self._in_ranges(rng)
        if self._contents() != wanted:
            return False
        self._reset(initial)
        return self._with_pauses(alone_s, rng) and self._contents() == wanted

    def costs(self, rounds: int, rng: np.random.Generator) -> list[Costs]:
        """Rounds of all three forms, each round in an order drawn anew."""
        self._reset({n: np.zeros(b.size // 4, np.float32) for n, b in self._changing.items()})
        launch_plain(self._place, self._forms, self._arguments).wait()
        once_s = self._once_s()
        self._claim = claim_for(self._forms.tiles, self._width, once_s)
        launches = int(np.clip(np.ceil(_SAMPLE_S / max(once_s, 1e-9)), 1, _LAUNCHES_MAX))
        samples = [self._sample(form, launches) for form in range(3)]
        found = []
        for number in range(rounds + 1):
            times_s = [0.0, 0.0, 0.0]
            for form in rng.permutation(3):
                self._zero_counters()
                times_s[form] = samples[form]()
            if number > 0:  # the first is warm-up
                found.append(Costs(*times_s))
        return found

    def _once_s(self) -> float:
        """Time of the plain form; it has been launched before."""
        event = self._launch(self._timed, 0, 0)
        event.wait()
        return event.lasted_s

    def _sample(self, form: int, launches: int) -> Callable[[], float]:
        """What takes the mean time of so many launches on the device.

        A launch from Python takes longer than a brief kernel, and longer with more arguments. So
        they are queued in one call where the driver keeps launches, and else the device's own
        times are taken.
        """

        def fill(queue: Queue, sides: Sequence[Queue] = ()) -> list[Event]:
            own = self._place._replace(queue=queue)
            return [self._launch(own, form, number) for number in range(launches)]

        recording = self._place.device.record(fill, 0)
        if recording is None:
            return lambda: mean_s(self._timed.queue, fill(self._timed.queue))
        return lambda: self._replayed_s(recording) / launches

    def _replayed_s(self, recording: Recording) -> float:
        now = MonotonicClock().now
        start_s = now()
        self._place.queue.replay(recording)
        self._place.queue.finish()
        return now() - start_s

    def _launch(self, place: Place, form: int, number: int) -> Event:
        if form == 0:
            return launch_plain(place, self._forms, self._arguments)
        if form == 1:
            tiles = range(self._forms.tiles)
            return launch_static(place, self._forms, self._arguments, tiles, self._width)
        return self._preemptive(place, self._words[number], self._width, self._claim)

    def _in_ranges(self, rng: np.random.Generator) -> None:
        tiles = self._forms.tiles
        cuts = np.sort(rng.integers(0, tiles + 1, rng.integers(0, _CUTS_MAX + 1)))
        ends = [0, *map(int, cuts), tiles]
        parts = [range(a, b) for a, b in itertools.pairwise(ends)]
        for number in rng.permutation(len(parts)):
            width = self._drawn_width(rng)
            launch_static(self._place, self._forms, self._arguments, parts[number], width).wait()

    def _with_pauses(self, alone_s: float, rng: np.random.Generator) -> bool:
        """Launch, pause and resume to the end; false if a paused kernel began a tile."""
        self._zero_counters()
        word = self._words[0]
        self._pause.set()
        self._drawn(word, rng).wait()
        if self._read(word) != 0:
            return False
        for _ in range(int(rng.integers(1, _PAUSES_MAX + 1))):
            self._pause.clear()
            event = self._drawn(word, rng)
            self._place.queue.flush()
            timer = threading.Timer(float(rng.uniform(0, alone_s)), self._pause.set)
            timer.start()
            event.wait()
            timer.join()
        self._pause.clear()
        self._drawn(word, rng).wait()
        return self._read(word) >= self._forms.tiles

    def _preemptive(self, place: Place, word: Buffer, width: int, claim: int) -> Event:
        return launch_preemptive(
            place,
            self._forms,
            self._arguments,
            progress=word,
            pause=self._pause.buffer,
            width=width,
            claim=claim,
        )

    def _drawn(self, word: Buffer, rng: np.random.Generator) -> Event:
        claim = int(rng.integers(1, _CLAIM_MAX + 1))
        return self._preemptive(self._place, word, self._drawn_width(rng), claim)

    def _drawn_width(self, rng: np.random.Generator) -> int:
        return int(rng.integers(1, 2 * self._width + 1))

    def _reset(self, initial: Mapping[str, Array]) -> None:
        for name, value in initial.items():
            self._place.queue.write(self._changing[name], value)

    def _contents(self) -> list[bytes]:
        found = []
        for buffer in self._changing.values():
            content = np.empty(buffer.size, np.uint8)
            self._place.queue.read(buffer, content)
            found.append(content.tobytes())
        return found

    def _zero_counters(self) -> None:
        self._place.queue.fill(self._counters, 0, self._counters.size).wait()

    def _read(self, word: Buffer) -> int:
        found = np.empty(1, np.uint32)
        self._place.queue.read(word, found)
        return int(found[0])
