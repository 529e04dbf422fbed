"""A device goes in; the word that the host sets and its kernels look at comes out."""

from cotenant.device.elastic.driver import Buffer
from cotenant.device.elastic.place import Place


class PauseWord:
    """While it is set, preemptive kernels claim no tile; any thread may set it."""

    def __init__(self, place: Place) -> None:
        self._kept = place.device.word()
        self._word = self._kept.array

    @property
    def buffer(self) -> Buffer:
        return self._kept.buffer

    @property
    def is_set(self) -> bool:
        return bool(self._word[0])

    def set(self) -> None:
        self._word[0] = 1

    def clear(self) -> None:
        self._word[0] = 0
