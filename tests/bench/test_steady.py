"""Which windows of a mix are taken to have seen the machine that the others saw."""

from hypothesis import given
from hypothesis import strategies as st

from cotenant.bench.records import Phase
from cotenant.bench.steady import WINDOWS, steady

TASKS = (
    {"name": "a", "criticality": "critical"},
    {"name": "b", "criticality": "critical"},
    {"name": "held-back", "criticality": "best-effort"},
)


def window(number, **service_s):
    return Phase("m", "p", number, tuple(service_s), 0.0, 0.0, 1.0, service_s)


def counted(*windows):
    return [one.round for one in steady(windows, TASKS)]


def test_a_window_in_which_critical_services_took_longer_or_shorter_does_not_count():
    usual, slow = {"a": 0.010, "b": 0.030}, {"a": 0.012, "b": 0.036}
    assert counted(window(0, **usual), window(1, **slow), window(2, **usual)) == [0, 2]
    assert counted(window(0, **slow), window(1, **usual), window(2, **slow)) == [0, 2]


def test_what_best_effort_work_took_says_nothing_of_the_machine():
    windows = [window(number, a=0.01, b=0.03, **{"held-back": 0.02 * number}) for number in (1, 5)]
    assert counted(*windows, window(6, a=0.011, b=0.03, **{"held-back": 0.5})) == [1, 5, 6]


def test_where_the_server_keeps_no_count_every_window_counts():
    assert counted(window(0), window(1), window(2)) == [0, 1, 2]
    assert counted(window(0, a=0.01), window(1), window(2, a=0.05)) == [0, 1, 2]
    assert counted() == []


@given(st.lists(st.floats(0.001, 1.0), min_size=WINDOWS, max_size=WINDOWS))
def test_the_median_window_always_counts(services_s):
    windows = [window(number, a=one, b=2.0 * one) for number, one in enumerate(services_s)]
    middle = sorted(range(WINDOWS), key=services_s.__getitem__)[WINDOWS // 2]
    assert middle in counted(*windows)
