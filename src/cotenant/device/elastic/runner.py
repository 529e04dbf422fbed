"""A bundle goes in; inferences on its device come out: plain, narrow, or pausable.

    plain       kernels as they were compiled, those of one stage side by side if the place
                has side queues; for critical models
    static      every kernel on `width` physical blocks
    preemptive  the same, and `pause` empties the device at the next tile boundaries; the
                inference is then continued with `resume`, and nothing is lost or done twice

The kernels of a paused inference that still stand in the queue claim no tile, since each of
them looks at the same word first. A kernel that could not be transformed does not look, so it
is queued only when all before it is known to be complete.
"""

from collections.abc import Mapping

from cotenant.device.bundle import Array, Bundle, Tensor
from cotenant.device.elastic.driver import wait_for
from cotenant.device.elastic.launch import launch_plain, launch_preemptive, launch_static
from cotenant.device.elastic.pause import PauseWord
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.stages import launch_stages


class Runner:
    """One bundle on one device; at most one inference at a time."""

    def __init__(self, bundle: Bundle, place: Place) -> None:
        """Build the kernels and put the weights in place.

        Raises:
            DeviceError: a kernel does not build, or the memory is not enough.
        """
        self._place = place
        self._resident = Resident(bundle, place)
        self._steps = self._resident.steps
        self._word = PauseWord(place)
        self._next = len(self._steps)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._resident.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self._resident.outputs

    def infer(self, inputs: Mapping[str, Array], width: int | None = None) -> dict[str, Array]:
        """A whole inference: plain, or on `width` physical blocks where it is given.

        Raises:
            InvalidRequest: an input is missing, or has another type or shape.
        """
        self._feed(inputs)
        if width is None:
            launch_stages(self._resident, self._place)
            return self._fetch()
        for step in self._steps:
            if step.kernel.static is None:
                launch_plain(self._place, step.kernel, step.arguments)
            else:
                tiles = range(step.kernel.tiles)
                launch_static(self._place, step.kernel, step.arguments, tiles, width)
        return self._fetch()

    def begin(self, inputs: Mapping[str, Array]) -> None:
        """Prepare a pausable inference; `resume` starts it.

        Raises:
            InvalidRequest: an input is missing, or has another type or shape.
        """
        self._feed(inputs)
        self._resident.rewind(self._place.queue)
        self._place.queue.finish()
        self._next = 0

    def resume(self, width: int) -> dict[str, Array] | None:
        """Run until the end or until `pause`; `None` says that it was paused.

        The pause word is cleared by `clear` alone, so that a pause that comes before is heeded.
        """
        while self._next < len(self._steps) and not self._word.is_set:
            self._stretch(width)
        return None if self._next < len(self._steps) else self._fetch()

    def pause(self) -> None:
        """Ask the device to stop at the next tile boundaries; may be called from any thread."""
        self._word.set()

    def clear(self) -> None:
        """Let `resume` go on; to be called when no `resume` runs."""
        self._word.clear()

    def _stretch(self, width: int) -> None:
        """Queue what may run without a look in between, wait, and see how far it came."""
        first = self._next
        if self._steps[first].kernel.preemptive is None:
            step = self._steps[first]
            launch_plain(self._place, step.kernel, step.arguments).wait()
            self._next += 1
            return
        for step in self._steps[first:]:
            if step.kernel.preemptive is None:
                break
            launch_preemptive(
                self._place,
                step.kernel,
                step.arguments,
                progress=step.progress,
                pause=self._word.buffer,
                width=width,
            )
        claimed = self._resident.progress(self._place.queue)
        for step in self._steps[first:]:
            if step.kernel.preemptive is None or claimed[self._next] < step.kernel.tiles:
                break
            self._next += 1

    def _feed(self, inputs: Mapping[str, Array]) -> None:
        self._resident.check(inputs)
        self._resident.feed(self._place.queue, inputs)

    def _fetch(self) -> dict[str, Array]:
        answer, copies = self._resident.fetch(self._place.queue)
        wait_for(copies)
        return {name: array.copy() for name, array in answer.items()}
