"""The elastic suites: workloads as published, rates by the stated rule, plans, skips, bundles."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotenant.bench.bundles import found_bundle, made_bundle, models_of
from cotenant.bench.load import LoadGenerator
from cotenant.bench.rates import (
    UTILIZATION,
    check_due,
    factor_for,
    measured_alone,
    open_loop,
    scaled,
)
from cotenant.bench.scenarios import POLICIES, Scenario
from cotenant.bench.servers import Server, later_pauses
from cotenant.bench.suite_run import (
    Place,
    choose_place,
    needed_bytes,
    placed,
    planned,
    policies_on,
)
from cotenant.bench.suites import REFERENCE, SUITES
from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import parse_target
from cotenant.core.errors import ModelError, WorkloadError
from cotenant.core.task import ClosedLoop, Criticality, Periodic, Poisson, Task
from cotenant.core.workload import Workload
from cotenant.device.bundle import read_bundle
from cotenant.graph.zoo import ZOO
from cotenant.policy import policy_by_name
from tests.bench.conftest import FAKE
from tests.compiler.kernels import scale_program

ALL = {one.name: one for suite in SUITES.values() for one in suite.scenarios}
CPU = Place("cpu", "P")


def words(task: Task) -> tuple[str, str, float | None]:
    arrivals = task.arrivals
    assert arrivals is not None
    rate_rps = arrivals.rate_rps if isinstance(arrivals, Periodic | Poisson) else None
    return task.model.removeprefix("zoo:"), arrivals.kind, rate_rps


@pytest.mark.parametrize(
    ("name", "critical", "best_effort"),
    [
        ("mdtb-a", ("alexnet", "closed-loop", None), "cifarnet"),
        ("mdtb-b", ("squeezenet", "periodic", 10.0), "alexnet"),
        ("mdtb-c", ("gru", "poisson", 10.0), "resnet50"),
        ("mdtb-d", ("lstm", "periodic", 10.0), "squeezenet"),
        ("disb-a", ("vgg19", "periodic", 100.0), "resnet50"),
        ("disb-b", ("vgg19", "closed-loop", None), "resnet50"),
    ],
)
def test_pairs_are_those_of_the_publications(
    name: str, critical: tuple[str, str, float | None], best_effort: str
) -> None:
    scenario = ALL[name]
    assert [words(task) for task in scenario.critical] == [critical]
    assert [words(task) for task in scenario.best_effort] == [(best_effort, "closed-loop", None)]


def test_the_larger_workloads_of_disb() -> None:
    a, c, d, e = (ALL[f"disb-{letter}"] for letter in "acde")
    assert c.critical == a.critical
    assert len(c.best_effort) == 5
    for scenario, kind in ((d, "periodic"), (e, "poisson")):
        assert [words(task)[1:] for task in scenario.critical] == [(kind, 20.0)] * 5
        assert len(scenario.best_effort) == 5


def test_every_model_is_in_the_zoo_and_every_best_effort_task_a_closed_loop() -> None:
    for scenario in ALL.values():
        for model in models_of([scenario]):
            assert model.removeprefix("zoo:") in ZOO
        for task in scenario.best_effort:
            assert task.arrivals == ClosedLoop(kind="closed-loop")


@given(
    name=st.sampled_from(sorted(ALL)),
    latencies_s=st.lists(st.floats(1e-4, 10.0), min_size=5, max_size=5),
)
def test_scaled_rates_offer_at_most_the_stated_part_of_the_device(
    name: str, latencies_s: list[float]
) -> None:
    scenario = ALL[name]
    alone_s = {
        task.name: one_s for task, one_s in zip(open_loop(scenario), latencies_s, strict=False)
    }
    factor = factor_for(scenario, alone_s)
    slower = scaled(scenario, factor)

    def offered(one: Scenario) -> float:
        return sum((words(task)[2] or 0.0) * alone_s[task.name] for task in open_loop(one))

    assert offered(slower) <= UTILIZATION * (1.0 + 1e-9)
    # No device is loaded beyond what was published, and a fast one exactly as it was.
    assert factor <= 1.0
    assert (factor == 1.0) == (offered(scenario) <= UTILIZATION)
    assert slower.best_effort == scenario.best_effort
    kinds = [words(task)[:2] for task in scenario.workload.tasks]
    assert [words(task)[:2] for task in slower.workload.tasks] == kinds


def fake_workload(rate_rps: float) -> Scenario:
    critical = Task(
        name="a",
        model="zoo:gru",
        criticality=Criticality.CRITICAL,
        arrivals=Periodic(kind="periodic", rate_rps=rate_rps),
    )
    other = Task(name="b", model="zoo:gru", arrivals=ClosedLoop(kind="closed-loop"))
    return Scenario("fake", Workload(name="fake", tasks=(critical, other)), policies=POLICIES)


def test_rates_follow_from_the_latency_that_a_server_shows(
    generator: LoadGenerator, tmp_path: Path
) -> None:
    program = (*FAKE, "--service-s", "0.05")
    plan = planned(
        fake_workload(1000.0),
        None,
        generator,
        folder=tmp_path,
        seed=1,
        seconds_s=8.0,
        program=program,
    )
    alone_s = plan.scale.alone_s["a"]
    assert alone_s >= 0.05
    assert plan.scale.factor == pytest.approx(UTILIZATION / (1000.0 * alone_s))
    assert words(plan.scenario.critical[0])[2] == pytest.approx(UTILIZATION / alone_s)


def test_a_given_factor_needs_no_measurement(generator: LoadGenerator, tmp_path: Path) -> None:
    plan = planned(
        fake_workload(10.0),
        0.5,
        generator,
        folder=tmp_path,
        seed=1,
        seconds_s=8.0,
        program=("/no/such",),
    )
    assert plan.scale == (0.5, {})
    assert words(plan.scenario.critical[0])[2] == 5.0


def test_phases_too_short_for_a_slow_device_are_refused_with_those_that_would_do() -> None:
    scenario = scaled(fake_workload(10.0), 0.0054)  # once in 18.5 s
    with pytest.raises(WorkloadError, match=r"'a' is asked once in 18\.5 s.*--seconds 56 or more"):
        check_due(scenario, 8.0)
    check_due(scenario, 56.0)


def test_a_slow_model_is_measured_until_there_are_enough_answers(
    serve: Callable[..., Server], generator: LoadGenerator
) -> None:
    server = serve("--service-s", "0.4")
    alone_s = measured_alone(fake_workload(1.0), server, generator, seed=1)
    assert alone_s["a"] >= 0.4


def test_memory_counts_every_policy_and_every_model() -> None:
    one = fake_workload(1.0)._replace(policies=("cotenant",))
    assert needed_bytes(fake_workload(1.0)) == len(POLICIES) * needed_bytes(one)
    assert needed_bytes(one) > 2 * 3 * 10**6


def test_policies_of_a_component_are_such_that_it_can_run() -> None:
    assert not any(policy_by_name(name).by_kernel for name in policies_on(CPU))
    elastic = policies_on(Place("opencl", "D"), [0.1, 0.5])
    assert {"cotenant", "cotenant@0.1", "cotenant@0.5", "miriam", "orion", "reef"} <= set(elastic)
    assert len(set(elastic)) == len(elastic)
    for offered in (policies_on(CPU), elastic):
        assert REFERENCE in offered
        assert all(policy_by_name(name).name == name for name in offered)


def test_the_processor_runs_models_as_they_are() -> None:
    assert choose_place("cpu").kind == "cpu"
    assert placed(ALL["mdtb-a"], CPU, {}) is ALL["mdtb-a"]


def test_a_bundle_in_the_users_folder_may_be_a_zip(tmp_path: Path) -> None:
    write_bundle(scale_program(), "hand", parse_target("opencl"), tmp_path / "gru.zip")
    assert found_bundle("zoo:gru", tmp_path, "opencl") == tmp_path / "gru.zip"


def test_a_bundle_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cotenant compile zoo:gru --target opencl -o"):
        found_bundle("zoo:gru", tmp_path, "opencl")


@given(
    before=st.lists(st.integers(0, 3).map(float), max_size=12),
    during=st.lists(st.integers(0, 3).map(float), max_size=12),
    room=st.integers(1, 30),
)
def test_pauses_of_a_phase_are_those_that_came_during_it(
    before: list[float], during: list[float], room: int
) -> None:
    # What the server remembers is bounded: the oldest go first.
    told = [{"gpu": before[-room:]}, {"gpu": (before + during)[-room:]}]
    later = later_pauses(*told)
    if len(before) + len(during) <= room:
        assert later == during
    else:
        # Pauses of the same length cannot be told apart, so it may find fewer, never others.
        assert later == during[len(during) - len(later) :]


def test_a_bundle_is_compiled_once_and_again_when_it_was_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tvm")
    monkeypatch.setenv("COTENANT_CACHE", str(tmp_path))
    said: list[str] = []

    def tell(what: str, done: int, total: int) -> None:
        said.append(what)

    folder = made_bundle("zoo:cifarnet", "opencl", tell)
    assert said
    assert read_bundle(folder, "opencl").manifest.model.startswith("zoo:cifarnet sha256:")
    said.clear()
    assert made_bundle("zoo:cifarnet", "opencl", tell) == folder
    assert not said
    (folder / "manifest.json").write_text("{}")
    assert made_bundle("zoo:cifarnet", "opencl", tell) == folder
    assert read_bundle(folder, "opencl").manifest.target == "opencl"
