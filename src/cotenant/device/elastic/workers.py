"""A clock goes in; the threads of a device that has none on this machine come out."""

from cotenant.core.clock import Clock


class NoWorkers:
    """Of a device that is not the processor: there is nobody to put into a class."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def serve(self, critical: bool) -> None:
        """The device's own queues know what is critical."""

    def ran_s(self) -> float:
        return self._clock.now()
