"""A device goes in; the word that the host sets and its kernels look at comes out."""

from cotenant.device.elastic.driver import Buffer, Event
from cotenant.device.elastic.place import Place


class PauseWord:
    """While it is set, preemptive kernels claim no tile; any thread may set it."""

    def __init__(self, place: Place) -> None:
        self._kept = place.device.word()
        self.is_set = False
        """As far as the host has said."""

    @property
    def buffer(self) -> Buffer:
        return self._kept.buffer

    def set(self) -> None:
        """Kernels see it very soon."""
        self.is_set = True
        self._kept.put(1)

    def clear(self) -> None:
        """Kernels that are launched from now on see it cleared."""
        seen = self.take_back()
        if seen is not None:
            seen.wait()

    def take_back(self) -> Event | None:
        """The same without waiting: the event is when kernels see it, `None`: now."""
        self.is_set = False
        return self._kept.put(0)
