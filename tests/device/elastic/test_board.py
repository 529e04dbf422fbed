"""What the two sides of a device know of each other: arrivals, charges, and when a pause ends."""

import math
import threading

import pytest

from cotenant.core.clock import VirtualClock
from cotenant.device.elastic.board import Board, Shared
from cotenant.device.elastic.driver import DriverError
from cotenant.device.elastic.flights import Launched
from cotenant.device.sharing import DeviceView, KernelView


class _Still:
    """Workers that only let things happen."""

    def serve(self, critical):
        pass


def test_only_tasks_that_told_their_period_assure_that_nothing_comes():
    clock = VirtualClock()
    board = Board(Shared(DeviceView(2, 64), _Still(), True, clock))
    kernel = KernelView("k", 4, 32, True, 0.001, None)

    def assured_s():
        return board.moment(kernel, 0).assured_s

    assert assured_s() == math.inf  # nobody is critical here
    board.expect(1, 0.1)
    assert assured_s() == 0.0  # it has not been heard of yet
    clock.advance_to(1.0)
    board.arrive(1)
    clock.advance_to(1.04)
    assert assured_s() == pytest.approx(0.06)
    board.expect(2, None)
    for place in range(20):  # regular, but nobody said so
        clock.advance_to(1.05 + 0.1 * place)
        board.arrive(2)
        board.arrive(1)
    assert board.moment(kernel, 0).next_critical_s == pytest.approx(0.1)
    assert assured_s() == 0.0
    board.forget(2)
    assert assured_s() == pytest.approx(0.1)
    clock.advance_to(9.0)
    assert assured_s() == 0.0  # it is late: it may come at any time


def test_what_is_charged_counts_until_critical_work_has_left():
    clock = VirtualClock()
    board = Board(Shared(DeviceView(2, 64), _Still(), True, clock))
    kernel = KernelView("k", 4, 32, True, 0.001, None)
    board.expect(1, None)
    assert board.moment(kernel, 0).critical_s == 0.0
    clock.advance_to(1.0)
    board.arrive(1)
    clock.advance_to(1.2)
    board.charge(0.004)
    board.arrive(1)  # another one while the first is there
    board.charge(0.003)
    now = board.moment(kernel, 0)
    assert (now.critical_s, now.charged_s) == pytest.approx((0.2, 0.007))
    board.launched()
    board.launched()
    assert board.moment(kernel, 0).critical_s == 0.0  # it has left
    clock.advance_to(2.0)
    board.arrive(1)
    clock.advance_to(2.1)
    now = board.moment(kernel, 0)
    assert (now.critical_s, now.charged_s) == pytest.approx((0.1, 0.0))


class _Word:
    """A pause word that remembers."""

    def __init__(self):
        self.is_set = False

    def set(self):
        self.is_set = True

    def take_back(self):
        self.is_set = False


def board_of(*words, clock=None):
    board = Board(Shared(DeviceView(2, 64), _Still(), True, clock or VirtualClock()))
    board.expect(1, None)
    for word in words:
        board.join(word)
    return board


def test_nothing_is_launched_between_the_pause_word_and_the_critical_kernels():
    word = _Word()
    board = board_of(word)
    came = threading.Event()

    def arrive():
        board.arrive(1)
        came.set()

    arriving = threading.Thread(target=arrive)
    with board.undisturbed(word) as free:
        assert free
        arriving.start()
        assert not came.wait(0.05)  # it waits for the launch to be made
    assert came.wait(10)
    arriving.join()
    with board.undisturbed(word) as free:
        assert not free
    board.launched()
    board.resume(word)
    with board.undisturbed(word) as free:
        assert free


class _Endless:
    """A launch that has not ended."""

    native = None
    ended = False


class _Late:
    """A launch whose end is seen late, and took 4 ms."""

    native = None
    ended = False

    def __init__(self, clock):
        self._clock = clock

    def wait(self):
        self._clock.advance_to(0.050)

    def since_s(self, first):
        return 0.004


def test_a_pause_ends_when_the_device_says_so_and_not_when_somebody_looks():
    clock, word = VirtualClock(), _Word()
    board = board_of(word, clock=clock)
    board.occupy(word)
    clock.advance_to(0.001)
    kernel = KernelView("k", 4, 32, True, 0.004, None)
    board.best_effort.add(Launched("be", kernel, _Late(clock)))
    clock.advance_to(0.002)
    board.arrive(1)
    board.wait_for_flagged()
    assert clock.now() == 0.050
    assert board.left(word) == pytest.approx(0.003)


class _Failed:
    """A launch that the device gives up while it is waited for."""

    native = None
    ended = False

    def wait(self):
        raise DriverError("out of resources")


def test_a_kernel_that_fails_while_a_critical_request_waits_ends_the_pause():
    clock, word = VirtualClock(), _Word()
    board = board_of(word, clock=clock)
    board.occupy(word)
    kernel = KernelView("k", 4, 32, True, 0.004, None)
    board.best_effort.add(Launched("be", kernel, _Failed()))
    board.arrive(1)
    with pytest.raises(DriverError, match="out of resources"):
        board.wait_for_flagged()
    board.launched()
    clock.advance_to(0.002)
    assert board.vacate(word) == pytest.approx(0.002)  # its own side has met the same error
    board.resume(word)
    assert not word.is_set


def test_who_rests_beside_critical_work_goes_on_when_it_is_gone():
    board = board_of(_Word())
    board.rest_beside(60.0)  # there is none
    board.arrive(1)
    resting = threading.Thread(target=board.rest_beside, args=(60.0,))
    resting.start()
    board.launched()
    resting.join(10.0)
    assert not resting.is_alive()


def test_a_pause_ends_when_the_last_side_has_left():
    clock = VirtualClock()
    first, second, idle = words = [_Word() for _ in range(3)]
    board = board_of(*words, clock=clock)
    board.occupy(first)
    board.occupy(second)
    kernel = KernelView("k", 4, 32, True, 0.001, None)
    board.best_effort.add(Launched("be", kernel, _Endless()))
    board.arrive(1)
    assert all(word.is_set for word in words)
    clock.advance_to(0.001)
    assert board.left(first) is None
    board.launched()
    board.resume(first)
    assert [word.is_set for word in words] == [False, True, True]  # each takes back its own
    clock.advance_to(0.003)
    assert board.vacate(second) == pytest.approx(0.003)
    assert board.left(first) is None
    board.part(idle)
    board.arrive(1)
    assert board.left(first) is not None  # `second` has nothing there any more
