"""One kernel on a device, in each of its forms, over buffers that a test can look into."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cotenant.compiler.elastic import make_elastic
from cotenant.compiler.source import Language
from cotenant.device.bundle import Code
from cotenant.device.elastic.launch import (
    Forms,
    forms,
    launch_plain,
    launch_preemptive,
    launch_static,
)
from cotenant.device.elastic.place import Place

Triple = tuple[int, int, int]


class Bench:
    """A kernel whose outputs are compared bit by bit, poison included."""

    def __init__(self, place: Place, kernel: Forms, arguments: Sequence[Any]) -> None:
        self.place = place
        self.kernel = kernel
        self.initial = arguments
        self.words = place.device.word(), place.device.word()
        self.progress, self.pause = (word.array for word in self.words)
        self.progress_buffer, self.pause_buffer = (word.buffer for word in self.words)
        self.buffers = [
            place.device.buffer(each.nbytes) if isinstance(each, np.ndarray) else each
            for each in arguments
        ]

    def reset(self) -> None:
        self.progress[0] = self.pause[0] = 0
        for buffer, value in zip(self.buffers, self.initial, strict=True):
            if isinstance(value, np.ndarray):
                self.place.queue.write(buffer, value)

    def contents(self) -> list[np.ndarray]:
        found = []
        for buffer, value in zip(self.buffers, self.initial, strict=True):
            if isinstance(value, np.ndarray):
                found.append(np.empty_like(value))
                self.place.queue.read(buffer, found[-1])
        return found

    def plain(self) -> list[np.ndarray]:
        self.reset()
        launch_plain(self.place, self.kernel, self.buffers).wait()
        return self.contents()

    def static(self, tiles: range, width: int) -> None:
        launch_static(self.place, self.kernel, self.buffers, tiles, width).wait()

    def preemptive(self, width: int) -> Any:
        event = launch_preemptive(
            self.place,
            self.kernel,
            self.buffers,
            progress=self.progress_buffer,
            pause=self.pause_buffer,
            width=width,
        )
        self.place.queue.flush()
        return event


def by_hand(
    place: Place, text: str, name: str, grid: Triple, block: Triple, *arguments: Any
) -> Bench:
    source = make_elastic(text, Language.OPENCL)
    assert [one.reason for one in source.kernels] == [None]
    program = place.device.build(Code(source.text), name)
    return Bench(place, forms(program, name, grid, block, True), arguments)


def same(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> bool:
    return all(one.tobytes() == other.tobytes() for one, other in zip(found, wanted, strict=True))
