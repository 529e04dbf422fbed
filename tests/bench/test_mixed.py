"""The suite `mixed` from start to end, on small servers, and through faults it must survive."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from cotenant.bench.header import mixed_header
from cotenant.bench.load import LoadGenerator, Seen
from cotenant.bench.mixed import (
    Announce,
    ScenarioRun,
    Setting,
    Settings,
    Visit,
    load_of,
    started,
    visits_of_round,
)
from cotenant.bench.records import ALONE, Observation, Records, RecordWriter, read_records
from cotenant.bench.report import RECORDS, SUMMARY, write_report
from cotenant.bench.scenarios import Scenario
from cotenant.core.errors import ExecutionError
from cotenant.core.task import ClosedLoop, Criticality, Periodic, Slo, Task
from cotenant.core.workload import Workload
from tests.bench.conftest import FAKE

SETTINGS = Settings(rounds=2, seconds_s=0.4, warm_up_s=0.1, seed=3)
CRITICAL = Task(
    name="a",
    model="zoo:a",
    criticality=Criticality.CRITICAL,
    slo=Slo(latency_s=0.05),
    arrivals=Periodic(kind="periodic", rate_rps=20.0),
)
BEST_EFFORT = Task(name="b", model="zoo:b", arrivals=ClosedLoop(kind="closed-loop"))
WORKLOAD = Workload(name="fake", tasks=(CRITICAL, BEST_EFFORT))
SCENARIO = Scenario("fake", WORKLOAD, policies=("cotenant", "concurrent"))


@contextlib.contextmanager
def quietly(_: Scenario, __: int, ___: Visit) -> Iterator[None]:
    yield


def run(
    scenario: Scenario,
    generator: LoadGenerator,
    folder: Path,
    *faults: str,
    announce: Announce = quietly,
    settings: Settings = SETTINGS,
    together: bool = True,
) -> Records:
    program = (*FAKE, "--service-s", "0.005", *faults)
    header = mixed_header((scenario,), settings, generator.standing)
    with RecordWriter(folder / RECORDS, header) as writer:
        setting = Setting(
            settings,
            generator,
            writer,
            folder,
            announce,
            program=program,
            together=together,
        )
        ScenarioRun(scenario, setting).run()
    return read_records(folder / RECORDS)


def test_every_phase_of_every_round_is_visited_and_reported(
    generator: LoadGenerator, tmp_path: Path
) -> None:
    records = run(SCENARIO, generator, tmp_path)
    visited = Counter((one.policy, one.tasks) for one in records.phases)
    assert visited == {
        (ALONE, ("a",)): 2,
        (ALONE, ("b",)): 2,
        ("cotenant", ("a", "b")): 2,
        ("concurrent", ("a", "b")): 2,
    }
    # Each phase of a round was given the same schedule, to the microsecond.
    schedules = {
        tuple(
            round(one.scheduled_s - phase.warm_up_from_s, 6)
            for one in sorted(records.observations, key=lambda one: one.scheduled_s)
            if (one.policy, one.round, one.task) == (phase.policy, 0, "a")
        )
        for phase in records.phases
        if phase.round == 0 and "a" in phase.tasks
    }
    assert len(schedules) == 1
    assert len(next(iter(schedules))) == 10
    write_report(tmp_path)
    summary = orjson.loads((tmp_path / SUMMARY).read_bytes())
    policies = summary["scenarios"][0]["policies"]
    assert list(policies) == ["cotenant", "concurrent"]
    assert summary["rounds"] == 2
    assert policies["cotenant"]["tasks"]["a"]["attainment"] == 1.0
    assert policies["cotenant"]["best_effort_ratio"]["value"] > 0.5


def test_servers_may_run_one_at_a_time(generator: LoadGenerator, tmp_path: Path) -> None:
    alive = []

    @contextlib.contextmanager
    def count(_: Scenario, __: int, ___: Visit) -> Iterator[None]:
        alive.append(len(running_with(str(tmp_path))))
        yield

    settings = SETTINGS._replace(rounds=1)
    records = run(SCENARIO, generator, tmp_path, settings=settings, announce=count, together=False)
    assert alive == [0, 0, 0, 0]  # the one for a visit is started inside it, and ended with it
    assert sorted((one.policy, one.tasks) for one in records.phases) == [
        (ALONE, ("a",)),
        (ALONE, ("b",)),
        ("concurrent", ("a", "b")),
        ("cotenant", ("a", "b")),
    ]
    assert not running_with(str(tmp_path))


def test_the_order_of_phases_is_drawn_anew_but_repeatable() -> None:
    orders = [
        tuple(visit.name for visit in visits_of_round(SCENARIO, SETTINGS, number))
        for number in range(8)
    ]
    assert len(set(orders)) > 1
    assert {tuple(sorted(order)) for order in orders} == {
        ("alone:a", "alone:b", "concurrent", "cotenant")
    }
    assert orders[3] == tuple(v.name for v in visits_of_round(SCENARIO, SETTINGS, 3))


def test_overload_offers_a_multiple_of_the_rate_alone(
    generator: LoadGenerator, tmp_path: Path
) -> None:
    scenario = SCENARIO._replace(policies=("cotenant",), overload=10.0)
    settings = SETTINGS._replace(rounds=1)
    records = run(scenario, generator, tmp_path, "--refuse-above", "4", settings=settings)
    assert [phase.policy for phase in records.phases] == [ALONE, ALONE, "cotenant"]
    alone = sum(one.policy == ALONE and one.task == "b" for one in records.observations)
    mixed = [one for one in records.observations if (one.policy, one.task) == ("cotenant", "b")]
    assert 5.0 * alone < len(mixed) < 15.0 * alone
    assert Counter(one.status for one in mixed).keys() == {200, 503}
    assert all(one.rss_bytes > 1_000_000 for one in records.memory)
    assert records.memory


def test_kills_meet_a_live_lane_and_are_recorded(
    generator: LoadGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cotenant.bench.mixed._KILL_GAP_S", 0.4)
    scenario = SCENARIO._replace(policies=("cotenant",), kills=2)
    settings = SETTINGS._replace(rounds=1)
    records = run(scenario, generator, tmp_path, "--lanes", settings=settings)
    assert len(records.kills) == 2
    assert {one.task for one in records.kills} == {"b"}
    assert [one.restarts for one in records.kills] == [1, 2]
    assert len({one.pid for one in records.kills}) == 2
    assert all(one.back_s is not None and one.back_s > one.time_s for one in records.kills)


def test_breaking_off_keeps_whole_phases_and_stops_the_servers(tmp_path: Path) -> None:
    begun = []

    @contextlib.contextmanager
    def announce(_: Scenario, __: int, visit: Visit) -> Iterator[None]:
        begun.append(visit)
        if len(begun) == 3:
            raise KeyboardInterrupt
        yield

    with LoadGenerator() as generator, pytest.raises(KeyboardInterrupt):
        run(SCENARIO, generator, tmp_path, announce=announce)
    records = read_records(tmp_path / RECORDS)
    assert len(records.phases) == 2
    assert {(one.policy, one.task) for one in records.observations} == {
        (visit.policy, task.name) for visit in begun[:2] for task in visit.tasks
    }
    write_report(tmp_path)
    assert not running_with(str(tmp_path))


def test_a_server_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    with (
        pytest.raises(ExecutionError, match="unrecognized arguments: --sing"),
        started(SCENARIO, tmp_path, (*FAKE, "--sing")),
    ):
        pass
    assert not running_with(str(tmp_path))


def test_a_plan_follows_the_task_unless_a_rate_is_offered() -> None:
    rng = np.random.default_rng(0)
    assert load_of(BEST_EFFORT, 2.0, rng).clients == 1
    offered = load_of(BEST_EFFORT, 10.0, rng, 50.0)
    assert offered.offsets_s is not None
    assert 400 < len(offered.offsets_s) < 600


def test_seen_and_observation_agree_on_their_fields() -> None:
    assert Observation._fields[3:] == Seen._fields


def running_with(argument: str) -> list[str]:
    """Command lines on this machine that mention the argument."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if argument in command and "oip_server" in command:
                found.append(command)
    return found
