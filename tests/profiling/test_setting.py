"""What interruptions cost, found again in visits that were made up with a known cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.core.task import Task
from cotenant.profiling.profile import Subject
from cotenant.profiling.setting import Loaded, Setting, alone_of, beside_of
from cotenant.profiling.visit import Guest, Stay

LOST_S = 0.0015


def loaded(name, kind):
    subject = Subject(graph_hash=name, criticality=kind, width=2, segments=1)
    task = Task(name=name, model="zoo:x", criticality=kind)
    return Loaded(task, subject, (Guest(task, 1, {}),), 0.1, 1)


def stay(service_s, net_s, interruptions):
    return Stay(service_s, service_s[None, :], 0.0 * service_s, 0.4, net_s, interruptions)


def visits(rng, own_s, lost_s=LOST_S):
    """Six rounds: own time, an interruption of 8 ms now and then, and what it costs more."""
    for _ in range(6):
        often = rng.poisson(0.4, 20).astype(float)
        net_s = own_s * rng.normal(1.0, 0.02, 20) + lost_s * often
        yield stay(net_s + 0.008 * often, net_s, often)


def settings(rng, lost_s=LOST_S):
    own, others = loaded("bulk", "best-effort"), [loaded(name, "critical") for name in "abc"]
    alone, warm = Setting([own], own.guests), Setting([own], [own.guests[0]._replace(pause_s=0.0)])
    for setting, time_s in ((alone, 0.006), (warm, 0.005)):
        for _ in range(6):
            calm_s = np.full(20, time_s)
            setting.stays.append([stay(calm_s, calm_s, 0.0 * calm_s)])
    pairs = []
    for other in others:
        # With each neighbour caches are of another kind: only the difference within a pair counts.
        pair = Setting([own, other], [own.guests[0], other.guests[0]])
        apart = Setting([other], other.guests)
        critical_s = np.full(20, 0.008)
        for seen in visits(rng, 0.005 if other is others[0] else 0.0065, lost_s):
            pair.stays.append([seen, stay(critical_s, critical_s, 0.0 * critical_s)])
            apart.stays.append([stay(critical_s, critical_s, 0.0 * critical_s)])
        pairs += [pair, apart]
    return [alone, warm, *pairs]


def test_the_cost_of_an_interruption_is_found_beside_any_neighbour():
    found = {one.subject.graph_hash: one for one in alone_of(settings(np.random.default_rng(1)),
                                                             np.random.default_rng(0))}  # fmt: skip
    assert found["bulk"].interruption_s == pytest.approx(LOST_S, rel=0.15)
    assert found["a"].interruption_s == 0.0  # critical work is not interrupted


def test_what_costs_nothing_is_near_nothing_and_one_wild_service_does_not_say_otherwise():
    rng = np.random.default_rng(2)
    seen = settings(rng, lost_s=0.0)
    wild = seen[2].stays[0][0]
    seen[2].stays[0][0] = wild._replace(net_s=np.where(wild.interruptions > 0, 3.0, wild.net_s))
    [bulk] = [one for one in alone_of(seen, rng) if one.subject.graph_hash == "bulk"]
    assert 0.0 <= bulk.interruption_s < 0.0005


@given(st.sampled_from([0.0, 0.0005, 0.002]), st.floats(0.05, 0.3), st.integers(0, 9))
def test_who_takes_long_is_interrupted_often_and_that_costs_nothing(lost_s, spread, seed):
    rng, rate_rps = np.random.default_rng(seed), 40.0
    own, other = loaded("bulk", "best-effort"), loaded("a", "critical")
    pair = Setting([own, other], [own.guests[0], other.guests[0]])
    for drift in rng.normal(1.0, 0.1, 60):  # the machine changes from round to round
        own_s = drift * 0.05 * rng.normal(1.0, spread, 100).clip(0.2)
        often = rng.poisson(rate_rps * own_s).astype(float)
        net_s = own_s + lost_s * often
        pair.stays.append([stay(net_s + 0.008 * often, net_s, often)] * 2)
    assert pair.interruption_s(0) == pytest.approx(lost_s, abs=0.001)  # it was 8 ms once


def test_company_is_also_told_over_the_time_back_to_back():
    seen = settings(np.random.default_rng(3))
    for one in beside_of(seen):
        if one.subject.graph_hash == "bulk":
            assert one.over_warm == pytest.approx(one.slowdown * 0.006 / 0.005)
        else:
            assert one.over_warm == one.slowdown  # it was not measured back to back
