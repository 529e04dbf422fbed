"""Best-effort orders go in: the rule is asked before each launch, and their ends are told.

One inference at a time, in a thread of its own, and one step after the other: where it has got
to is then one number, and what it leaves of the device is for others. When critical work has
set the pause word, the device is emptied, what was complete is kept, and the rest is launched
again as the rule says.

Where the device's driver keeps launches, the rule is first asked as if the whole inference were
one kernel: what it lets go then costs one call, however many kernels there are. A processor has
one side, since a kernel is spread over all of its cores; elsewhere each task has its own.
"""

import queue
import threading
from collections.abc import Callable, Sequence

from cotenant.core.clock import Clock
from cotenant.core.errors import InvalidRequest
from cotenant.device.elastic.board import Board
from cotenant.device.elastic.driver import DriverError, Event, Recording, wait_for
from cotenant.device.elastic.flights import Launched
from cotenant.device.elastic.launch import (
    claim_for,
    launch_plain,
    launch_preemptive,
    launch_static,
)
from cotenant.device.elastic.ledger import Ledger
from cotenant.device.elastic.pause import PauseWord
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.resident import Resident, Step
from cotenant.device.elastic.stages import recorded, recorded_elastic
from cotenant.device.elastic.tenant import (
    Answer,
    Message,
    Order,
    Recorded,
    as_one,
    done,
    failed,
)
from cotenant.device.sharing import Form, KernelView, Shard, Sharing

_AHEAD_S = 0.001
"""How much work may stand behind the kernel that runs. One launch always may, however long that
kernel is: the device would run dry between the two.

What stands there when critical work arrives ends at once, but on a device that runs kernels
first come, first served each of them still has to wait for its turn to end.
"""
_GLANCE_S = 0.001
"""How long to wait when the rule wants to, and nothing runs whose end could be waited for."""
_LONG_S = 0.004
"""A critical kernel that lasts longer is not waited for: it may have time to spare before."""


class BestEffortSide:
    """Serves what is submitted, in a thread of its own."""

    def __init__(
        self,
        place: Place,
        board: Board,
        answer: Answer,
        *,
        word: PauseWord,
        rule: Sharing,
        clock: Clock,
    ) -> None:
        self._place = place
        self._board = board
        self._word = word
        self._rule = rule
        self._clock = clock
        self._answer = answer
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._never = threading.Event()
        self._flying: list[Event] = []
        """What was launched since it was last known how far it came."""
        self._held_s = 0.0
        """How long the inference that runs was held back."""
        self._thread: threading.Thread | None = None
        board.join(word)

    def submit(self, order: Order) -> None:
        """To be called by a thread that launches, whose class the side's own takes."""
        if self._thread is None:
            self._thread = threading.Thread(target=self.run, daemon=True)
            self._thread.start()
        self._orders.put(order)

    def close(self) -> None:
        """What was submitted is still served."""
        if self._thread is None:
            self._board.part(self._word)
        self._orders.put(None)

    def recorded(self, resident: Resident, views: Sequence[KernelView]) -> Recorded | None:
        """A bundle's kernels in the forms in which the rule may let them go at once, if any.

        Only this side may queue them: they look at its word.
        """
        if not views or not self._rule.at_once:
            return None
        found: dict[Form, Recording | None] = {}
        if Form.PLAIN in self._rule.forms:
            found[Form.PLAIN] = recorded(resident, self._place)
        if Form.PREEMPTIVE in self._rule.forms:
            sizes = [self._idle_sizes(view) for view in views]
            found[Form.PREEMPTIVE] = recorded_elastic(resident, self._place, self._word, sizes)
        kept = {form: one for form, one in found.items() if one is not None}
        return Recorded(kept, as_one(views)) if kept else None

    def _idle_sizes(self, view: KernelView) -> tuple[int, int]:
        """Physical blocks that the rule gives a kernel where nothing else is, and their claims."""
        shard = self._rule.next_shard(self._board.idle(view))
        width = max(1, min(self._place.width if shard is None else shard.width, view.tiles))
        return width, claim_for(view.tiles, width, view.alone_s)

    def run(self) -> None:
        while (order := self._orders.get()) is not None:
            self._board.occupy(self._word)
            try:
                answer = self._served(order)
            except InvalidRequest as error:
                answer = {"seat": order.tenant.seat, "invalid": str(error)}
            except DriverError as error:
                answer = failed(order.tenant.seat, error)
            self._tell(self._board.vacate(self._word))
            self._answer(answer)
        self._board.part(self._word)

    def _served(self, order: Order) -> Message:
        resident, device = order.tenant.resident, self._place.queue
        resident.check(order.inputs)
        start_s, self._held_s = self._clock.now(), 0.0
        self._flying.clear()
        if self._word.is_set:
            self._wait(self._resume)
        copies = resident.feed(device, order.inputs)
        resident.rewind(device)
        device.flush()
        ledger = Ledger([step.kernel.tiles for step in resident.steps])
        while ledger.step is not None or not ledger.settled:
            if self._word.is_set:
                self._settle(order, ledger)
                self._wait(self._resume)
            elif ledger.step is None:
                self._settle(order, ledger)
            elif not self._all_at_once(order, ledger):
                self._advance(order, ledger, ledger.step)
        self._tell(self._board.vacate(self._word))
        outputs, fetched = resident.fetch(device)
        wait_for([*copies, *fetched])
        end_s = self._clock.now()
        busy_s = max(0.0, end_s - start_s - self._held_s)
        # Behind another inference of this side it waited, and was not served.
        return done(order._replace(start_s=start_s), outputs, end_s, busy_s)

    def _tell(self, pause_s: float | None) -> None:
        if pause_s is not None:
            self._answer({"pause_s": pause_s})

    def _settle(self, order: Order, ledger: Ledger) -> None:
        """See how far it came; if critical work has come, this is when the device is left."""
        for event in self._flying:
            if self._word.is_set:
                break
            event.wait()
        if self._word.is_set:
            self._leave()
            self._tell(self._board.left(self._word))
        # Even a copy waits for its turn behind critical kernels.
        ledger.settle(order.tenant.resident.progress(self._place.queue))
        self._flying.clear()

    def _leave(self) -> None:
        """Return when no tile of this side runs."""
        if self._place.device.processor:
            self._board.wait_for_flagged()
        else:
            self._place.queue.finish()

    def _resume(self) -> None:
        self._board.resume(self._word)

    def _all_at_once(self, order: Order, ledger: Ledger) -> bool:
        """Queue all that is left as the driver keeps it, where it does and the rule says so."""
        tenant, recorded = order.tenant, order.tenant.recorded
        if recorded is None or not ledger.settled:
            return False
        shard = self._rule.next_shard(self._board.moment(recorded.view, 0))
        if shard is None or shard.tiles < recorded.view.tiles:
            return False
        # A plain kernel begins with its first tile, and ends.
        form = shard.form if ledger.untouched else Form.PREEMPTIVE
        recording = recorded.forms.get(form)
        if recording is None:
            return False
        with self._board.undisturbed(self._word) as free:
            if not free:
                return True
            counters = ledger.launch_rest(form)
            if counters is not None:
                tenant.resident.count(self._place.queue, counters)
            event = self._place.queue.replay(recording)
            self._place.queue.flush()
            self._board.best_effort.add(Launched(tenant.task, recorded.view, event))
            self._flying.append(event)
        self._throttle(event)
        return True

    def _advance(self, order: Order, ledger: Ledger, number: int) -> None:
        """Launch what the rule says, or wait as it says."""
        step, view = order.tenant.resident.steps[number], order.tenant.views[number]
        head = self._board.best_effort.head()
        if head is not None and self._board.best_effort.behind_s() >= _AHEAD_S:
            head.launched.event.wait()
            return
        shard = self._rule.next_shard(self._board.moment(view, ledger.done))
        if shard is None:
            self._wait(self._look_again)
            return
        shard = _possible(shard, step, ledger.done)
        if shard.form is Form.PLAIN and not ledger.may(Form.PLAIN) and step.kernel.preemptive:
            # The plain form is quicker, but not by as much as it takes to empty the device for it.
            shard = shard._replace(form=Form.PREEMPTIVE)
        if not ledger.may(shard.form):
            self._settle(order, ledger)
            return
        with self._board.undisturbed(self._word) as free:
            # What is launched after the pause word was set would stand behind critical kernels,
            # and the pause would last until it had its turn.
            if not free:
                return
            counter, tiles = ledger.counter, ledger.launch(shard.form, shard.tiles)
            event = self._launch(step, shard, tiles, counter, view.alone_s)
            self._place.queue.flush()
            self._board.charge(shard.charge_s)
            part = len(tiles) / step.kernel.tiles
            self._board.best_effort.add(Launched(order.tenant.task, view, event, part))
            self._flying.append(event)
        self._throttle(event)

    def _launch(
        self, step: Step, shard: Shard, tiles: range, counter: int, alone_s: float | None
    ) -> Event:
        """`counter` is what stands in the step's counter now."""
        place = self._place
        if shard.form is Form.PLAIN:
            return launch_plain(place, step.kernel, step.arguments)
        width = max(1, min(shard.width, len(tiles)))
        if shard.form is Form.STATIC:
            return launch_static(place, step.kernel, step.arguments, tiles, width)
        if counter != tiles.start:
            place.queue.fill(step.progress, tiles.start, 4)
        return launch_preemptive(
            place,
            step.kernel,
            step.arguments,
            progress=step.progress,
            pause=self._word.buffer,
            width=width,
            end=tiles.stop,
            claim=claim_for(step.kernel.tiles, width, alone_s),
        )

    def _look_again(self) -> None:
        """Wait for the first end that may change the rule's mind."""
        head = self._board.best_effort.head()
        if head is not None:
            head.launched.event.wait()
            return
        head = self._board.critical.head()
        if head is None:
            self._board.rest(_GLANCE_S)
        elif head.launched.expected_s - (self._clock.now() - head.since_s) > _LONG_S:
            self._board.rest(_LONG_S)
        else:
            until_s = self._clock.now() + self._rule.patience_s
            head.launched.event.wait()
            self._board.rest_beside(until_s - self._clock.now())

    def _throttle(self, event: Event) -> None:
        """Idle as long as the guard's duty asks for."""
        duty = self._board.allowance.duty
        if duty < 1.0:
            start_s = self._clock.now()
            event.wait()
            idle_s = (self._clock.now() - start_s) * (1.0 / duty - 1.0)
            self._wait(lambda: self._never.wait(idle_s))

    def _wait(self, wait: Callable[[], object]) -> None:
        start_s = self._clock.now()
        wait()
        self._held_s += self._clock.now() - start_s


def _possible(shard: Shard, step: Step, done: int) -> Shard:
    """The same shard in a form that the kernel has, of at least one tile."""
    left = step.kernel.tiles - done
    tiles = max(1, min(shard.tiles, left))
    if step.kernel.static is None:
        return shard._replace(form=Form.PLAIN, tiles=left)
    if shard.form is Form.PLAIN and done > 0:
        return shard._replace(form=Form.STATIC, tiles=left, width=left)
    return shard._replace(tiles=left if shard.form is Form.PLAIN else tiles)
