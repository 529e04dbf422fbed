"""The time at the front, from answers and records made by hand."""

import threading

import numpy as np
import orjson
import pytest

from cotenant.bench.apart import Pace, Served, ServedRecords, late_s, told_apart, took
from cotenant.bench.asking import Rhythm
from cotenant.core.errors import ExecutionError

WARM_UP_S = [0.5] * 3
CALM, BRIEF, RESTED, QUICK, TURNS, OPEN = Rhythm


def pace(rhythm, services_s, front_s=0.002):
    return Pace(rhythm, [one + front_s for one in services_s], 0.0005 * len(services_s))


def served(*blocks_s):
    """One after the other, nobody comes while another is served."""
    ends_s = np.cumsum([one + 0.01 for block_s in blocks_s for one in block_s])
    services_s = np.concatenate(blocks_s)
    return [
        Served(start_s, start_s, start_s + took_s)
        for start_s, took_s in zip(ends_s - services_s, services_s, strict=True)
    ]


def alone(paces, rows):
    return took([told_apart("a", paces, rows)])


def test_front_and_service_are_told_apart_request_by_request():
    calm_s = WARM_UP_S + [0.010, 0.012] * 20
    warm_s = WARM_UP_S + [0.008] * 20
    turns_s = WARM_UP_S + [0.009] * 20
    rested_s = [0.5] + [0.0132] * 4
    blocks_s = [calm_s, rested_s, warm_s, turns_s, calm_s, warm_s]
    paces = [
        pace(CALM, calm_s),
        pace(RESTED, rested_s),
        pace(QUICK, warm_s, 0.001),
        pace(TURNS, turns_s),
        pace(CALM, calm_s),
        pace(OPEN, warm_s),
    ]
    found = alone(paces, served(*blocks_s))
    assert found.front_s == pytest.approx(0.002)
    assert found.warm_front_s == pytest.approx(0.001)
    assert found.front_busy_s == pytest.approx(0.0005)
    assert found.service.mean_s == pytest.approx(0.011)  # the warm-up of each pass is left out
    assert found.service.n == 20  # those in turns say how services vary
    assert found.warm == pytest.approx(8 / 11)
    assert found.in_turns == pytest.approx(9 / 11)
    assert found.rested == pytest.approx(1.2)
    assert found.brief is None  # nobody asked


def test_a_stall_of_somebody_elses_moves_neither():
    services_s = WARM_UP_S + [0.010] * 60
    services_s[20] = 1.0
    calm = pace(CALM, services_s)
    calm.latencies_s[40] += 0.3
    paces = [calm, *(pace(rhythm, services_s) for rhythm in (RESTED, QUICK, TURNS, OPEN))]
    found = alone(paces, served(*[services_s] * 5))
    assert found.front_s == pytest.approx(0.002)
    assert found.service.mean_s == pytest.approx(0.010)
    assert found.warm == pytest.approx(1.0)


def test_services_vary_as_they_do_in_turns():
    calm_s, turns_s = WARM_UP_S + [0.010] * 20, WARM_UP_S + [0.016, 0.024] * 10
    paces = [
        pace(one, turns_s if one is TURNS else calm_s) for one in (CALM, RESTED, QUICK, TURNS, OPEN)
    ]
    service = alone(paces, served(calm_s, calm_s, calm_s, turns_s, calm_s)).service
    assert service.mean_s == pytest.approx(0.010)
    assert service.quantiles_s[0] == pytest.approx(0.008)
    assert service.quantiles_s[-1] == pytest.approx(0.012)


def test_what_clients_who_do_not_wait_see_beyond_it_is_the_mean_over_all_tasks():
    warm_s = WARM_UP_S + [0.010] * 20
    paces = [pace(rhythm, warm_s, 0.001) for rhythm in (CALM, RESTED, QUICK, TURNS)]
    late = [pace(OPEN, warm_s, front_s) for front_s in (0.0013, 0.0015, 0.002)]
    late[0].latencies_s[-1] += 0.008  # one of twenty that was heard of late
    seen = told_apart("a", [*paces, *late], served(*[warm_s] * 7))
    fronts_s = seen.fronts_s[OPEN]
    assert [one.mean() for one in fronts_s] == pytest.approx([0.0017, 0.0015, 0.002])
    later = [one + 0.0004 for one in fronts_s]
    other = seen._replace(fronts_s={**seen.fronts_s, OPEN: later})
    model = took([seen])
    assert late_s([(model, seen), (model, other)]) == pytest.approx(0.0009)


def test_time_in_the_queue_is_no_front():
    warm_s = WARM_UP_S + [0.010] * 20
    paces = [pace(rhythm, warm_s, 0.001) for rhythm in (CALM, RESTED, QUICK, TURNS)]
    rows = served(*[warm_s] * 5)
    rows[-1] = rows[-1]._replace(arrival_s=rows[-1].arrival_s - 0.03)
    queued = pace(OPEN, warm_s, 0.001)
    queued.latencies_s[-1] += 0.03
    fronts_s = told_apart("a", [*paces, queued], rows).fronts_s[OPEN]
    assert fronts_s[0].mean() == pytest.approx(0.001)


def test_tasks_of_one_model_count_as_one():
    quick_s, slow_s = WARM_UP_S + [0.010] * 20, WARM_UP_S + [0.012] * 20
    seen = [
        told_apart("a", [pace(rhythm, each_s) for rhythm in Rhythm], served(*[each_s] * 6))
        for each_s in (quick_s, slow_s)
    ]
    found = took(seen)
    assert found.service.mean_s == pytest.approx(0.011)
    assert found.service.n == 40
    assert found.warm == pytest.approx(1.0)
    assert found.in_turns == pytest.approx(1.0)
    assert found.brief == pytest.approx(1.0)


def test_answers_and_records_that_differ_are_an_error():
    six = [Pace(rhythm, [0.1] * 5) for rhythm in Rhythm]
    with pytest.raises(ExecutionError, match="answered 30 times, and the server recorded 4"):
        told_apart("a", six, served([0.1] * 4))
    six[3] = six[3]._replace(latencies_s=[])
    with pytest.raises(ExecutionError, match="answered 25 times"):
        told_apart("a", six, served([0.1] * 25))


def test_records_are_read_as_they_come(tmp_path):
    path = tmp_path / "served.jsonl"

    def record(task, at_s, outcome="ok", end=b"\n"):
        times = {"arrival_s": at_s, "start_s": at_s, "end_s": at_s + 0.5}
        with path.open("ab") as file:
            file.write(orjson.dumps({"task": task, "outcome": outcome, **times}) + end)

    record("a", 1.0)
    record("b", 2.0)
    record("a", 3.0, outcome="failed")
    records = ServedRecords(path)
    assert records.after({"a": 1}) == {"a": [Served(1.0, 1.0, 1.5)]}
    record("a", 4.0, end=b"")

    def end_line():
        with path.open("ab") as file:
            file.write(b"\n")

    later = threading.Timer(0.05, end_line)
    later.start()
    found = records.after({"a": 1, "b": 1})
    later.join()
    assert found == {"a": [Served(4.0, 4.0, 4.5)], "b": [Served(2.0, 2.0, 2.5)]}


def test_records_that_never_come_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("cotenant.bench.apart._RECORDS_WITHIN_S", 0.01)
    path = tmp_path / "served.jsonl"
    path.touch()
    with pytest.raises(ExecutionError, match=r"answered .'a': 2. requests and the server recorded"):
        ServedRecords(path).after({"a": 2})
