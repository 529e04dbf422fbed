"""A whole inference goes in; its plain kernels are queued, those of one stage side by side.

A stage of one step goes into the place's own queue and waits for nothing by name: that queue
keeps its order. A wider stage is dealt out to the own queue and the side queues. All of it
waits for the stage before, and what comes next waits for all of it; at the end everything is
joined in the own queue, so whoever uses that queue alone need not know of the others.
"""

from collections.abc import Callable, Sequence

from cotenant.device.elastic.driver import DriverError, Event, Queue, Recording
from cotenant.device.elastic.launch import launch_plain, launch_preemptive
from cotenant.device.elastic.pause import PauseWord
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.resident import Resident

Told = Callable[[int, Event], object]
"""Number of a step, and the event of its launch."""


def launch_stages(resident: Resident, place: Place, told: Told = lambda number, event: None) -> int:
    """Queue all kernels behind what stands in the place's own queue.

    Returns:
        How many launches stand in side queues.
    """
    sides = [place._replace(queue=queue, sides=()) for queue in place.sides]
    try:
        loose, beside = _queued(resident, place, sides, told)
    except DriverError:
        # Nothing may be left in a side queue that the own queue does not stand behind.
        place.queue.flush()
        for side in sides:
            side.queue.finish()
        raise
    if loose:
        place.queue.stand_behind(loose)
    if beside:
        # An event may be waited for in another queue only once its own queue was flushed.
        for one in (place, *sides):
            one.queue.flush()
    return beside


def recorded(resident: Resident, place: Place) -> Recording | None:
    """The same, kept by the driver, with as many side queues as the place has."""

    def fill(queue: Queue, sides: Sequence[Queue]) -> None:
        launch_stages(resident, place._replace(queue=queue, sides=tuple(sides)))

    return place.device.record(fill, len(place.sides))


def recorded_elastic(
    resident: Resident, place: Place, pause: PauseWord, sizes: Sequence[tuple[int, int]]
) -> Recording | None:
    """All steps in their order, each from where its counter stands, until `pause` is set.

    Args:
        sizes: physical blocks of each step, and the tiles that each of them claims at a time.

    Returns:
        `None` where the driver keeps no launches, or a kernel has no such form: it would run
        whatever became of those before it.
    """
    if any(step.kernel.preemptive is None for step in resident.steps):
        return None

    def fill(queue: Queue, sides: Sequence[Queue]) -> None:
        own = place._replace(queue=queue, sides=tuple(sides))
        for step, (width, claim) in zip(resident.steps, sizes, strict=True):
            launch_preemptive(
                own,
                step.kernel,
                step.arguments,
                progress=step.progress,
                pause=pause.buffer,
                width=width,
                claim=claim,
            )

    return place.device.record(fill, 0)


def _queued(
    resident: Resident, place: Place, sides: Sequence[Place], told: Told
) -> tuple[list[Event], int]:
    """Events that the own queue does not yet stand behind, and the launches in side queues."""
    beside = 0
    loose: list[Event] = []
    for stage in resident.stages:
        if len(stage) == 1 or not sides:
            for number in stage:
                told(number, _launch(resident, place, number, loose))
                loose = []
            continue
        gate = [place.queue.marker(), *loose]
        told(stage[0], _launch(resident, place, stage[0], loose))
        last: dict[int, Event] = {}
        for turn, number in enumerate(stage[1:]):
            side = turn % len(sides)
            # In a queue's own order the second one stands behind the first, and so behind the gate.
            last[side] = _launch(resident, sides[side], number, () if side in last else gate)
            told(number, last[side])
        beside += len(stage) - 1
        loose = list(last.values())
    return loose, beside


def _launch(resident: Resident, place: Place, number: int, behind: Sequence[Event]) -> Event:
    step = resident.steps[number]
    return launch_plain(place, step.kernel, step.arguments, behind)
