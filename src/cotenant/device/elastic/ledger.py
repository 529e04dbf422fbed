"""Launches of one inference and the counters of its steps go in; what is still to do comes out.

A preemptive launch may be cut short, so until the counters have been read it is only presumed
to be complete. Whatever cannot be cut short itself may not stand behind a presumption.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cotenant.device.sharing import Form


class _Presumed(NamedTuple):
    step: int
    begin: int
    end: int


class Ledger:
    """How far an inference has come, in steps and tiles."""

    def __init__(self, tiles: Sequence[int]) -> None:
        """`tiles` of each step."""
        self._tiles = tiles
        self._step = 0
        self._done = 0
        self._presumed: list[_Presumed] = []
        self._counters = [0] * len(tiles)
        """What stands in each step's counter, where nothing of it is presumed."""

    @property
    def step(self) -> int | None:
        """The step that is launched next; `None` when all are."""
        return self._step if self._step < len(self._tiles) else None

    @property
    def done(self) -> int:
        """Tiles of this step that are complete, or presumed to be."""
        return self._done

    @property
    def settled(self) -> bool:
        """Nothing is presumed."""
        return not self._presumed

    def may(self, form: Form) -> bool:
        """Whether a launch of this form may follow what was launched."""
        if not self._presumed:
            return True
        last = self._presumed[-1]
        return form is Form.PREEMPTIVE and last.end == self._tiles[last.step]

    @property
    def untouched(self) -> bool:
        """Nothing was launched, or nothing has come of it."""
        return self._step == self._done == 0 and self.settled

    @property
    def counter(self) -> int:
        """What stands in the counter of the step that is launched next."""
        return self._counters[self._step]

    def launch(self, form: Form, tiles: int) -> range:
        """Note a launch of the next so many tiles; returns them."""
        launched = range(self._done, min(self._done + tiles, self._tiles[self._step]))
        if form is Form.PREEMPTIVE:
            self._presumed.append(_Presumed(self._step, launched.start, launched.stop))
        self._done = launched.stop
        if self._done == self._tiles[self._step]:
            self._step, self._done = self._step + 1, 0
        return launched

    def launch_rest(self, form: Form) -> list[int] | None:
        """Note a launch of all that is left.

        Returns:
            What has to stand in the counters of all steps before, where it does not stand there:
            other forms than the preemptive one do not count.
        """
        step, done = self._step, self._done
        after = len(self._tiles) - step - 1
        due = [*self._tiles[:step], done, *[0] * after]
        stands = self._counters[step:] == due[step:] and all(
            counter >= tiles
            for counter, tiles in zip(self._counters[:step], due[:step], strict=True)
        )
        if not stands:
            self._counters = due
        while self.step is not None:
            self.launch(form, self._tiles[self._step])
        return None if stands else due

    def settle(self, counters: Sequence[int]) -> None:
        """Take in the counters of all steps, read when nothing of the inference ran."""
        for presumed in self._presumed:
            self._counters[presumed.step] = counters[presumed.step]
        for step, begin, end in self._presumed:
            # A counter runs past the end by as much as blocks that found nothing left.
            reached = max(begin, min(counters[step], end))
            if reached < end:
                self._step, self._done = step, reached
                break
        self._presumed.clear()
