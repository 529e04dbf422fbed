"""What the device notes between launches: nothing is lost or done twice, and guesses are sober."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.clock import VirtualClock
from cotenant.core.errors import DeviceError
from cotenant.device.elastic.flights import Flights, Launched
from cotenant.device.elastic.foresight import Foresight
from cotenant.device.elastic.ledger import Ledger
from cotenant.device.elastic.rule import as_values, from_values
from cotenant.device.elastic.watchdog import Watchdog
from cotenant.device.sharing import Form, KernelView
from cotenant.policy import POLICIES
from tests.device.elastic.rules import Pausing


class _Device:
    """Runs launches as the elastic forms do, and forgets none that was done."""

    def __init__(self, tiles: Sequence[int]) -> None:
        self.counters = [0] * len(tiles)
        self.runs = [[0] * count for count in tiles]
        self.order: list[int] = []

    def run(self, step: int, tiles: range) -> None:
        for tile in tiles:
            self.runs[step][tile] += 1
            self.order.append(step)

    def claim(self, step: int, end: int, width: int, stop_after: int | None) -> None:
        """The preemptive form: with a stop, that many tiles are claimed before the pause."""
        budget = stop_after
        while budget is None or budget > 0:
            tile, self.counters[step] = self.counters[step], self.counters[step] + 1
            if tile >= end:
                # The other blocks find nothing left, too.
                self.counters[step] += width - 1
                return
            self.run(step, range(tile, tile + 1))
            budget = None if budget is None else budget - 1

    def run_all(self, form: Form, width: int, stop_after: int | None) -> None:
        """Steps one behind the other, in the form that starts anew or the one that goes on."""
        for step, own in enumerate(self.runs):
            if form is Form.PLAIN:
                self.run(step, range(len(own)))
                continue
            before = len(self.order)
            self.claim(step, len(own), width, stop_after)
            if stop_after is not None:
                stop_after -= len(self.order) - before


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.lists(
        st.tuples(
            st.sampled_from(list(Form)),
            st.integers(1, 12) | st.none(),
            st.integers(1, 4),
            st.none() | st.integers(0, 15),
        ),
        max_size=60,
    ),
)
def test_every_tile_runs_once_and_steps_keep_their_order(
    tiles: list[int], choices: list[tuple[Form, int | None, int, int | None]]
) -> None:
    """Where no number of tiles is drawn, all that is left is launched at once."""
    device, ledger = _Device(tiles), Ledger(tiles)
    paused = False
    script = iter([*choices, *[(Form.PREEMPTIVE, 99, 2, None)] * 99])
    while ledger.step is not None or not ledger.settled:
        if ledger.step is None or paused:
            ledger.settle(device.counters)
            paused = False
            continue
        form, count, width, stop = next(script)
        if count is None:
            if ledger.settled:
                form = form if form is Form.PLAIN and ledger.untouched else Form.PREEMPTIVE
                device.counters = ledger.launch_rest(form) or device.counters
                device.run_all(form, width, stop)
                paused = form is Form.PREEMPTIVE and stop is not None
            continue
        if form is Form.PLAIN and ledger.done:
            form = Form.STATIC
        count = tiles[ledger.step] if form is Form.PLAIN else count
        if not ledger.may(form):
            ledger.settle(device.counters)
            continue
        step, counter = ledger.step, ledger.counter
        launched = ledger.launch(form, count)
        assert len(launched) > 0
        if form is not Form.PREEMPTIVE:
            device.run(step, launched)
            continue
        if counter != launched.start:
            device.counters[step] = launched.start
        if stop is not None:
            device.claim(step, launched.stop, width, stop)
            # The word stays set until the host has settled, so launches behind it claim nothing.
            paused = True
        else:
            device.claim(step, launched.stop, width, None)
    assert device.runs == [[1] * count for count in tiles]
    assert device.order == sorted(device.order)


@given(st.floats(0.001, 10), st.integers(0, 20))
def test_a_period_is_learned_or_told(period_s: float, arrivals: int) -> None:
    told, learned = Foresight(period_s), Foresight()
    for number in range(arrivals):
        told.arrived(number * period_s)
        learned.arrived(number * period_s)
    last_s = (arrivals - 1) * period_s
    assert (told.next_s(last_s) is not None) is (arrivals > 0)
    assert (learned.next_s(last_s) is not None) is (arrivals > 8)
    if arrivals > 8:
        assert learned.next_s(last_s + 0.25 * period_s) == pytest.approx(0.75 * period_s)
        assert learned.next_s(last_s + 1.25 * period_s) == 0.0
        assert learned.next_s(last_s + 1.75 * period_s) is None


@given(st.lists(st.floats(0.0, 0.4), min_size=1, max_size=30), st.integers(1, 3))
def test_the_next_is_due_by_the_one_that_was_held_up_least(
    delays_s: list[float], periods: int
) -> None:
    """Also where some did not come at all."""
    foresight = Foresight(1.0)
    for number, delay_s in enumerate(delays_s):
        foresight.arrived(number * periods + delay_s)
    due_s = (len(delays_s) - 1) * periods + min(delays_s[-9:])
    assert foresight.next_s(due_s + 0.5) == pytest.approx(0.5)


def test_nothing_is_learned_from_unequal_gaps() -> None:
    foresight = Foresight()
    for time_s in (0, 1, 2, 3, 4, 5, 6.5, 7.5, 8.5):
        foresight.arrived(time_s)
    assert foresight.next_s(8.5) is None


@given(st.floats(1.0, 5.0), st.lists(st.floats(-0.05, 0.05), min_size=8, max_size=20))
def test_a_closed_loop_of_long_inferences_is_not_taken_for_a_clock(mean_s, jitters) -> None:
    foresight, now_s = Foresight(), 0.0
    foresight.arrived(now_s)
    for jitter in jitters:
        now_s += mean_s * (1.0 + jitter)
        foresight.arrived(now_s)
    gaps_s = [mean_s * (1.0 + jitter) for jitter in jitters[-8:]]
    kept = all(abs(gap_s - sorted(gaps_s)[4]) <= 0.001 for gap_s in gaps_s)
    assert (foresight.next_s(now_s) is not None) is kept


class _Event:
    """An event of the driver, as far as it is looked at."""

    def __init__(self) -> None:
        self.ended = False


class _Sides(NamedTuple):
    clock: VirtualClock
    critical: Flights
    best_effort: Flights


def launched(task: str, alone_s: float = 0.01) -> Launched:
    event: Any = _Event()
    return Launched(task, KernelView(f"{task}_kernel", 8, 32, True, alone_s, None), event)


@pytest.fixture
def sides() -> _Sides:
    clock = VirtualClock()
    return _Sides(clock, Flights(clock), Flights(clock))


def watched(sides: _Sides, dog: Watchdog, until_s: float) -> Any:
    """What the dog says first, asked ten times a second."""
    while sides.clock.now() < until_s:
        hung = dog.look(sides.clock.now(), sides.clock.now())
        if hung is not None:
            return hung
        sides.clock.advance_to(sides.clock.now() + 0.1)
    return None


def test_a_kernel_that_never_ends_is_found_and_not_the_one_behind_it(sides: _Sides) -> None:
    dog = Watchdog(sides.critical, sides.best_effort)
    sides.best_effort.add(launched("be"))
    assert watched(sides, dog, 1.0) is None
    sides.critical.add(launched("crit"))
    hung = watched(sides, dog, 60.0)
    assert (hung.task, hung.kernel) == ("be", "be_kernel")
    assert 2.2 <= hung.after_s <= 4.0


def test_the_limit_grows_with_the_kernel(sides: _Sides) -> None:
    dog = Watchdog(sides.critical, sides.best_effort)
    sides.critical.add(launched("slow", alone_s=1.0))
    assert watched(sides, dog, 21.0) is None
    assert watched(sides, dog, 23.0).task == "slow"


def test_to_wait_behind_the_other_side_is_not_to_hang_for_long(sides: _Sides) -> None:
    dog = Watchdog(sides.critical, sides.best_effort)
    sides.best_effort.add(launched("be"))
    hung = None
    while hung is None and sides.clock.now() < 60.0:
        one = launched("crit")
        sides.critical.add(one)
        sides.clock.advance_to(sides.clock.now() + 0.1)
        hung = dog.look(sides.clock.now(), sides.clock.now())
        one.event.ended = True
    # Ten times the limit: it cannot be the other side's doing any more.
    assert hung is not None
    assert hung.task == "be"
    assert 20.0 <= sides.clock.now() < 25.0


def test_a_kernel_that_is_kept_from_running_does_not_hang(sides: _Sides) -> None:
    dog = Watchdog(sides.critical, sides.best_effort)
    sides.best_effort.add(launched("be"))
    for second in range(1000):
        sides.clock.advance_to(float(second))
        assert dog.look(sides.clock.now(), ran_s=second * 0.001) is None
    assert dog.look(1000.0, ran_s=4.0) is not None


def test_flights_show_the_first_that_has_not_ended(sides: _Sides) -> None:
    first, second = launched("a", 0.25), launched("b", 0.5)._replace(part=0.5)
    assert sides.critical.head() is None
    sides.critical.add(first)
    sides.clock.advance_to(1.0)
    sides.critical.add(second)
    assert sides.critical.head() == (first, 0.0)
    assert (len(sides.critical), sides.critical.behind_s()) == (2, 0.25)
    first.event.ended = True
    assert sides.critical.head() == (second._replace(queued_s=1.0), 1.0)
    second.event.ended = True
    assert (len(sides.critical), sides.critical.behind_s()) == (0, 0)


@pytest.mark.parametrize("name", POLICIES)
def test_every_policys_rule_travels(name: str) -> None:
    rule = POLICIES[name]().sharing
    assert from_values(as_values(rule)) == rule


def test_rules_with_values_travel_and_others_are_refused() -> None:
    assert from_values(as_values(Pausing(7, 9))) == Pausing(7, 9)

    class Local(Pausing):
        pass

    with pytest.raises(DeviceError, match="top level"):
        as_values(Local())
