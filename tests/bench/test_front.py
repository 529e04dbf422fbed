"""The time at the front, from answers and records made by hand."""

import numpy as np
import pytest

from cotenant.bench.asking import Rhythm
from cotenant.bench.front import Pace, Served, _alone
from cotenant.core.errors import ExecutionError

WARM_UP_S = [0.5] * 4
CALM, QUICK, TURNS, OPEN = Rhythm
LATE_S = 0.0003


def pace(rhythm, services_s, front_s=0.002):
    late_s = [LATE_S] * len(services_s) if rhythm is OPEN else ()
    latencies_s = [one + front_s for one in services_s]
    return Pace(rhythm, latencies_s, 0.0005 * len(services_s), late_s)


def served(*blocks_s):
    """One after the other, nobody comes while another is served."""
    ends_s = np.cumsum([one + 0.01 for block_s in blocks_s for one in block_s])
    services_s = np.concatenate(blocks_s)
    return [
        Served(start_s, start_s, start_s + took_s)
        for start_s, took_s in zip(ends_s - services_s, services_s, strict=True)
    ]


def test_front_and_service_are_told_apart_request_by_request():
    calm_s = WARM_UP_S + [0.010, 0.012] * 20
    warm_s = WARM_UP_S + [0.008] * 20
    turns_s = WARM_UP_S + [0.009] * 20
    blocks_s = [calm_s, warm_s, turns_s, calm_s, warm_s]
    paces = [
        pace(CALM, calm_s),
        pace(QUICK, warm_s, 0.001),
        pace(TURNS, turns_s),
        pace(CALM, calm_s),
        pace(OPEN, warm_s),
    ]
    found = _alone("a", paces, served(*blocks_s))
    assert found.front_s == pytest.approx(0.002)
    assert found.warm_front_s == pytest.approx(0.001)
    assert found.late_s == pytest.approx(LATE_S)
    assert found.front_busy_s == pytest.approx(0.0005)
    assert found.reading_s == 0.0
    assert found.service.mean_s == pytest.approx(0.011)  # the warm-up of each pass is left out
    assert found.service.n == 20  # those in turns say how services vary
    assert found.warm == pytest.approx(8 / 11)
    assert found.in_turns == pytest.approx(9 / 11)


def test_a_stall_of_somebody_elses_moves_neither():
    services_s = WARM_UP_S + [0.010] * 60
    services_s[20] = 1.0
    calm = pace(CALM, services_s)
    calm.latencies_s[40] += 0.3
    paces = [calm, *(pace(rhythm, services_s) for rhythm in (QUICK, TURNS, OPEN))]
    found = _alone("a", paces, served(*[services_s] * 4))
    assert found.front_s == pytest.approx(0.002)
    assert found.service.mean_s == pytest.approx(0.010)
    assert found.warm == pytest.approx(1.0)


def test_services_vary_as_they_do_in_turns():
    calm_s, turns_s = WARM_UP_S + [0.010] * 20, WARM_UP_S + [0.016, 0.024] * 10
    paces = [pace(CALM, calm_s), pace(QUICK, calm_s), pace(TURNS, turns_s), pace(OPEN, calm_s)]
    service = _alone("a", paces, served(calm_s, calm_s, turns_s, calm_s)).service
    assert service.mean_s == pytest.approx(0.010)
    assert service.quantiles_s[0] == pytest.approx(0.008)
    assert service.quantiles_s[-1] == pytest.approx(0.012)


def asked_openly(rng, alone_s, reading_s):
    """A queue whose services are longer by a certain time for each request that comes meanwhile."""
    arrivals_s = np.cumsum(rng.exponential(2.0 * alone_s, 40))
    free_s = 0.0
    for arrival_s in arrivals_s:
        start_s, read = max(arrival_s, free_s), 0
        while True:
            free_s = start_s + alone_s + read * reading_s
            came = int(np.sum((start_s < arrivals_s) & (arrivals_s <= free_s)))
            if came == read:
                break
            read = came
        yield Served(float(arrival_s), float(start_s), float(free_s))


def test_reading_is_told_from_how_fast_the_machine_was_in_a_pass():
    alone_s = WARM_UP_S + [0.010] * 20
    rng = np.random.default_rng(5)
    passes = [list(asked_openly(rng, slower_s, 0.0015)) for slower_s in (0.010, 0.013)]
    paces = [
        *(pace(rhythm, alone_s) for rhythm in (CALM, QUICK, TURNS)),
        *(pace(OPEN, [one.end_s - one.start_s for one in each]) for each in passes),
    ]
    found = _alone("a", paces, [*served(*[alone_s] * 3), *passes[0], *passes[1]])
    assert found.reading_s == pytest.approx(0.0015)


def test_answers_and_records_that_differ_are_an_error():
    five = [Pace(rhythm, [0.1] * 5, 0.0, [0.0] * 5) for rhythm in Rhythm]
    with pytest.raises(ExecutionError, match="answered 20 times, and the server recorded 4"):
        _alone("a", five, served([0.1] * 4))
    five[2] = five[2]._replace(latencies_s=[])
    with pytest.raises(ExecutionError, match="answered 15 times"):
        _alone("a", five, served([0.1] * 15))
