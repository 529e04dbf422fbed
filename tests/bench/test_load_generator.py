"""The load generator against servers that stall, refuse and drop: nothing is hidden or lost."""

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from cotenant.bench.load import LoadGenerator, LoadPlan, TaskLoad
from cotenant.bench.servers import HOST, Server, free_ports
from cotenant.core.errors import ExecutionError
from cotenant.core.record import Outcome

Serve = Callable[..., Server]


def plan(port: int, *loads: TaskLoad, seconds_s: float = 1.0) -> LoadPlan:
    return LoadPlan(HOST, port, 7, 0.0, seconds_s, 3.0, loads)


def periodic(task: str, rate_rps: float, seconds_s: float = 1.0) -> TaskLoad:
    return TaskLoad(task, tuple(np.arange(0.0, seconds_s, 1.0 / rate_rps).tolist()))


def test_a_stall_is_felt_by_every_request_it_held_up(
    serve: Serve, generator: LoadGenerator
) -> None:
    server = serve("--stall-on", "20", "--stall-s", "0.5")
    driven = generator.drive(plan(server.port, periodic("a", 100.0)))
    latency_s = np.array([one.end_s - one.scheduled_s for one in driven.seen])
    due_s = np.array([one.scheduled_s for one in driven.seen]) - driven.start_s
    assert len(driven.seen) == 100
    # Requests that were due during the stall waited for its end: the ramp falls with slope -1.
    held = (due_s > 0.25) & (due_s < 0.6)
    assert held.sum() >= 30
    assert np.all(latency_s[held] > 0.65 - due_s[held])
    assert np.sum(latency_s > 0.1) >= 35


def test_a_closed_loop_hides_the_same_stall(serve: Serve, generator: LoadGenerator) -> None:
    server = serve("--stall-on", "20", "--stall-s", "0.5")
    driven = generator.drive(plan(server.port, TaskLoad("a", None, clients=1)))
    latency_s = np.array([one.end_s - one.scheduled_s for one in driven.seen])
    assert np.sum(latency_s > 0.1) == 1
    assert np.quantile(latency_s, 0.95) < 0.1


def test_dropped_connections_lose_no_request(serve: Serve, generator: LoadGenerator) -> None:
    server = serve("--drop-every", "3")
    driven = generator.drive(plan(server.port, periodic("a", 90.0), periodic("b", 30.0)))
    assert Counter(one.task for one in driven.seen) == {"a": 90, "b": 30}
    assert len({(one.task, one.scheduled_s) for one in driven.seen}) == 120
    outcomes = Counter(one.outcome for one in driven.seen)
    counts = server.ask("/counts")
    assert counts["requests"] == 120
    assert outcomes == {Outcome.OK: 80, Outcome.FAILED: 40}
    assert all((one.status is None) == (one.outcome is Outcome.FAILED) for one in driven.seen)


def test_refusals_are_counted_one_by_one(serve: Serve, generator: LoadGenerator) -> None:
    server = serve("--service-s", "0.05", "--refuse-above", "2")
    driven = generator.drive(plan(server.port, periodic("a", 200.0)))
    outcomes = Counter(one.outcome for one in driven.seen)
    counts = server.ask("/counts")
    assert len(driven.seen) == counts["requests"] == 200
    assert outcomes[Outcome.REJECTED] == counts["refused"] > 100
    assert outcomes[Outcome.OK] == 200 - counts["refused"]


def test_answers_that_never_come_are_cut_off_and_reported(
    serve: Serve, generator: LoadGenerator
) -> None:
    server = serve("--service-s", "30")
    load = plan(server.port, periodic("a", 20.0, 0.5), seconds_s=0.5)._replace(drain_s=0.2)
    driven = generator.drive(load)
    assert [one.outcome for one in driven.seen] == [Outcome.CANCELLED] * 10


def test_closed_loop_keeps_as_many_in_flight_as_it_has_clients(
    serve: Serve, generator: LoadGenerator
) -> None:
    server = serve("--service-s", "0.02")
    driven = generator.drive(plan(server.port, TaskLoad("a", None, clients=3)))
    ends_s = np.sort([one.end_s for one in driven.seen])
    in_flight = [
        sum(one.scheduled_s <= time_s < one.end_s for one in driven.seen) for time_s in ends_s
    ]
    assert max(in_flight) <= 3
    assert np.median(in_flight[2:-3]) >= 2
    assert all(one.outcome is Outcome.OK for one in driven.seen)


def test_tasks_in_turns_are_asked_one_after_the_other(
    serve: Serve, generator: LoadGenerator
) -> None:
    server = serve("--service-s", "0.01")
    loads = (TaskLoad("a", None, clients=1), TaskLoad("b", None))
    driven = generator.drive(plan(server.port, *loads)._replace(in_turns=True))
    by_time = sorted(driven.seen, key=lambda one: one.scheduled_s)
    assert len(by_time) > 20
    assert [one.task for one in by_time] == ["ab"[i % 2] for i in range(len(by_time))]
    for before, one in itertools.pairwise(by_time):
        assert one.scheduled_s >= before.end_s


def test_seen_while_it_runs_is_what_is_returned(serve: Serve, generator: LoadGenerator) -> None:
    server = serve()
    watched = []
    driven = generator.drive(plan(server.port, periodic("a", 50.0)), watched.append)
    assert tuple(watched) == driven.seen


def test_an_unknown_model_is_an_error_and_the_generator_lives_on(
    serve: Serve, generator: LoadGenerator
) -> None:
    server = serve()
    with pytest.raises(ExecutionError, match="404"):
        generator.drive(plan(server.port, periodic("nobody", 10.0)))
    with pytest.raises(ExecutionError, match="could not begin"):
        generator.drive(plan(free_ports(1)[0], periodic("a", 10.0)))
    assert generator.drive(plan(server.port, periodic("a", 10.0))).seen
