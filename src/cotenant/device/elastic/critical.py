"""Critical orders go in: their kernels are queued plain, all at once, and their ends are told.

Steps of one stage are queued side by side where the device has queues for that.
"""

import queue
from collections.abc import Sequence
from typing import NamedTuple

from cotenant.core.clock import Clock
from cotenant.core.errors import InvalidRequest
from cotenant.device.bundle import Array
from cotenant.device.elastic.board import Board
from cotenant.device.elastic.driver import DriverError, Event, wait_for
from cotenant.device.elastic.flights import Launched
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.stages import launch_stages, recorded
from cotenant.device.elastic.tenant import Answer, Order, Recorded, as_one, done, failed
from cotenant.device.sharing import Form, KernelView


class _Ending(NamedTuple):
    order: Order
    outputs: dict[str, Array]
    copies: list[Event]


class CriticalSide:
    """`launch` is called where orders arrive; `run` waits for ends in a thread of its own."""

    def __init__(self, place: Place, board: Board, clock: Clock, answer: Answer) -> None:
        self._place = place
        self._board = board
        self._clock = clock
        self._answer = answer
        self._ending: queue.SimpleQueue[_Ending] = queue.SimpleQueue()

    def recorded(self, resident: Resident, views: Sequence[KernelView]) -> Recorded | None:
        """All plain kernels of a bundle, to be queued at once, where the driver keeps launches."""
        recording = recorded(resident, self._place) if views else None
        return None if recording is None else Recorded({Form.PLAIN: recording}, as_one(views))

    def launch(self, order: Order) -> None:
        """Queue a whole inference; the board was told of its arrival before."""
        tenant, place = order.tenant, self._place

        def told(number: int, event: Event) -> None:
            self._board.critical.add(Launched(tenant.task, tenant.views[number], event))

        try:
            tenant.resident.check(order.inputs)
            copies = tenant.resident.feed(place.queue, order.inputs)
            if tenant.recorded is None:
                launch_stages(tenant.resident, place, told)
            else:
                event = place.queue.replay(tenant.recorded.forms[Form.PLAIN])
                self._board.critical.add(Launched(tenant.task, tenant.recorded.view, event))
            outputs, fetched = tenant.resident.fetch(place.queue)
            place.queue.flush()
        except InvalidRequest as error:
            self._answer({"seat": tenant.seat, "invalid": str(error)})
            return
        except DriverError as error:
            self._answer(failed(tenant.seat, error))
            return
        finally:
            self._board.launched()
        self._ending.put(_Ending(order, outputs, [*copies, *fetched]))

    def run(self) -> None:
        """Tell the ends, first in, first out, as the device's queue has them."""
        while True:
            self._end(self._ending.get())

    def _end(self, ending: _Ending) -> None:
        order = ending.order
        try:
            wait_for(ending.copies)
            end_s = self._clock.now()
            message = done(order, ending.outputs, end_s, end_s - order.start_s)
        except DriverError as error:
            message = failed(order.tenant.seat, error)
        self._board.ended()
        self._answer(message)
