"""Which windows of a mix are taken to have seen the same machine."""

from cotenant.bench.agreement import Limits, Window, agreeing, closest
from cotenant.bench.records import Observation, Phase
from cotenant.core.record import Outcome


def window(change, service_s, latency_s=0.4, *, held_back_s=0.02):
    phase = Phase(
        "m", "p", 0, ("a", "b"), 0.0, 0.0, 1.0, {"a": service_s, "b": held_back_s}, change
    )
    seen = [
        Observation("m", "p", 0, task, 0.5, 0.5, 0.5 + latency_s, 200, Outcome.OK) for task in "ab"
    ]
    return Window([phase, *seen], frozenset("a"))


def test_windows_agree_when_the_machine_was_the_same_and_services_were_alike():
    slow, early, late = window(1.3, 0.010), window(1.0, 0.010), window(1.05, 0.0105)
    other = window(1.0, 0.012)
    assert agreeing([slow, early], Limits()) is None  # one machine was another one
    assert agreeing([early, other], Limits()) is None  # and here services say so
    assert agreeing([early, other, late], Limits()) == (early, late)


def test_latencies_may_differ_by_the_luck_of_arrivals_but_not_as_on_another_machine():
    one, lucky, other = window(1.0, 0.01), window(1.0, 0.01, 0.48), window(1.0, 0.01, 0.8)
    assert agreeing([one, other], Limits()) is None
    assert agreeing([one, other, lucky], Limits()) == (one, lucky)


def test_how_long_best_effort_work_was_held_back_says_nothing_of_the_machine():
    one, other = window(1.0, 0.01), window(1.0, 0.01, held_back_s=0.05)
    assert agreeing([one, other], Limits()) == (one, other)


def test_the_closest_are_of_what_there_is():
    one, other, third = window(1.0, 0.01), window(1.0, 0.02), window(1.0, 0.03)
    assert closest([one, other, third]) == (other, third)
    assert closest([one]) == (one,)
    assert closest([]) == ()


def test_a_server_that_keeps_no_count_is_judged_at_the_client():
    unknown = window(1.0, 0.01)
    [phase, *seen] = unknown.lines
    assert unknown._replace(lines=[phase._replace(service_s={}), *seen]).service_s == {"a": 0.4}
