"""Tuning measures every schedule, refuses wrong ones, and its choice is what then runs."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cotenant.cli.tune import tune as tune_command
from cotenant.device.bundle import Bundle, read_bundle
from cotenant.device.elastic.background import Background
from cotenant.device.elastic.driver import Priority
from cotenant.device.elastic.ready import views
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.runner import Runner
from cotenant.device.elastic.tuner import Samples, choose, tune
from cotenant.device.tuning import TABLE, Table, read_table, write_table
from tests.compiler.kernels import varied_program
from tests.device.elastic.inferences import check_scaling, drawn
from tests.device.elastic.programs import bundled


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return read_bundle(bundled(varied_program(), tmp_path, "hand"), "opencl")


def tuned(bundle: Bundle, place: Any) -> Table:
    told: list[tuple[str, int, int]] = []
    rng = np.random.default_rng(0)
    table = tune(bundle, place, rounds=2, rng=rng, tell=lambda *one: told.append(one))
    assert told[0] == ("scale", 0, 2)
    assert told[-1] == ("done", 2, 2)
    return table


def with_choice(table: Table, variant: str) -> Table:
    scale = table.kernels["scale"].model_copy(update={"chosen": variant})
    return table.model_copy(update={"kernels": {**table.kernels, "scale": scale}})


def test_every_schedule_is_measured_or_refused_with_a_reason(bundle: Bundle, place: Any) -> None:
    table = tuned(bundle, place)
    scale, waits = table.kernels["scale"], table.kernels["waits"]
    assert set(scale.schedules) == {"default", "two", "wide"}
    assert "differ" in scale.refused["wrong"]
    assert "does not build" in scale.refused["broken"]
    assert scale.chosen in scale.schedules
    assert {one.width for one in scale.widths} >= {1}
    assert [width for width, _ in scale.costs] == [one.width for one in scale.widths]
    assert all(math.isfinite(cost) for _, cost in scale.costs)
    assert set(waits.schedules) == {"default"}
    assert waits.widths == (), "it has no static form"
    assert (table.device, table.driver) == place.here
    for times in scale.schedules.values():
        assert times.alone_s > 0
        assert times.beside_s > 0


@pytest.mark.parametrize("variant", ["default", "two", "wide"])
def test_the_chosen_variant_runs_in_every_form(bundle: Bundle, place: Any, variant: str) -> None:
    write_table(bundle.folder, with_choice(tuned(bundle, place), variant))
    block = {"default": 4, "two": 2, "wide": 8}[variant]
    assert Resident(bundle, place).steps[0].kernel.block == (block, 1, 1)
    check_scaling(Runner(bundle, place), drawn((16, 4)))


def test_without_a_table_that_fits_the_default_runs(bundle: Bundle, place: Any) -> None:
    table = with_choice(tuned(bundle, place), "two")
    write_table(bundle.folder, table.model_copy(update={"driver": "another"}))
    assert Resident(bundle, place).steps[0].kernel.block == (4, 1, 1)
    write_table(bundle.folder, table)
    assert Resident(bundle, place).steps[0].kernel.block == (2, 1, 1)
    assert Resident(bundle, place, chosen={}).steps[0].kernel.block == (4, 1, 1)


def test_a_variant_that_no_longer_builds_gives_way_to_the_default(
    bundle: Bundle, place: Any
) -> None:
    table = with_choice(tuned(bundle, place), "broken")
    assert table.kernels["scale"].costs
    write_table(bundle.folder, table)
    resident = Resident(bundle, place)
    assert resident.steps[0].kernel.block == (4, 1, 1)
    assert resident.steps[0].costs == (), "they are another schedule's"
    assert "does not build" in resident.fallbacks["scale"]


def test_the_rule_sees_what_was_measured(bundle: Bundle, place: Any) -> None:
    table = tuned(bundle, place)
    write_table(bundle.folder, table)
    timed = place._replace(queue=place.device.queue(timed=True))
    for resident, costs in [
        (Resident(bundle, timed), table.kernels["scale"].costs),
        (Resident(bundle, timed, chosen={}), ()),
    ]:
        scale, waits, again = views(resident, timed, 1e9, lambda: None)
        assert scale.costs == again.costs == costs
        assert waits.costs == ()


@pytest.mark.parametrize("timed", [False, True])
def test_a_queue_keeps_its_priority_whether_it_takes_times_or_not(
    place: Any, timed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []
    monkeypatch.setattr(place.device, "_ranks", True)
    monkeypatch.setattr(
        "cotenant.device.opencl.driver.cl.CommandQueue",
        lambda context, device, properties: asked.append(properties),
    )
    place.device.queue(Priority.HIGH, timed=timed)
    place.device.queue(Priority.LOW, timed=timed)
    times = [0x1093, 2] if timed else []  # CL_QUEUE_PROPERTIES: CL_QUEUE_PROFILING_ENABLE
    assert asked == [[0x1096, 1, *times], [0x1096, 4, *times]]


def test_choice() -> None:
    def samples(alone: float, *beside: float) -> Samples:
        return Samples([alone] * len(beside), list(beside))

    default = samples(1.0, 2.0, 2.0, 2.0, 2.0)
    close, near = samples(0.5, *[1.99] * 4), samples(0.9, *[1.2] * 4)
    lucky = samples(0.9, 0.1, 2.1, 0.1, 2.1)
    assert choose({"default": default}) == "default"
    assert choose({"default": default, "a": close}) == "default", "noise is no gain"
    assert choose({"default": default, "a": samples(0.5, *[1.5] * 4), "b": near}) == "b"
    assert choose({"default": default, "a": samples(1.2, *[0.5] * 4)}) == "default", "slow alone"
    assert choose({"default": default, "a": lucky}) == "default", "half of the rounds is luck"


def test_the_background_ends_with_its_block(place: Any) -> None:
    background = Background(place)
    assert background.once_s > 0
    for _ in range(2):
        with background:
            pass


@pytest.mark.timeout(900)  # a driver that compiles on the processor needs seconds for a kernel
def test_command_end_to_end(place: Any, bundle_of: Callable[[str], tuple[Path, Path]]) -> None:
    _, folder = bundle_of("cifarnet")
    try:
        done = CliRunner().invoke(tune_command, [str(folder), "--rounds", "1"])
        assert done.exit_code == 0, done.output
        assert "default" in done.output
        bundle = read_bundle(folder, "opencl")
        table = read_table(bundle, place.here)
        assert table is not None
        assert set(table.kernels) == set(bundle.manifest.kernels)
        assert not any(one.refused for one in table.kernels.values()), "a variant is wrong"
        assert any(len(one.schedules) > 1 for one in table.kernels.values())
        assert re.search(r"1: \S+, [+-]\d+\.\d%", done.output), "no cost is shown"
        assert len(Runner(bundle, place).infer(inputs_of(bundle))) == 1
        done = CliRunner().invoke(tune_command, [str(folder), "--rounds", "1", "--json"])
        assert done.exit_code == 0, done.output
        noted = json.loads(done.stdout)
        assert noted["bundle_sha256"] == bundle.sha256
        widths = [each for one in noted["kernels"].values() for each in one["widths"]]
        assert widths
        assert all(isinstance(each["cost"], float) for each in widths)
    finally:
        (folder / TABLE).unlink(missing_ok=True)


def inputs_of(bundle: Bundle) -> dict[str, np.ndarray]:
    return {one.name: drawn(one.shape) for one in bundle.manifest.inputs}


def test_refusals(tmp_path: Path, bundle: Bundle) -> None:
    for arguments, says in [
        ([str(tmp_path)], "is no bundle"),
        ([str(bundle.folder), "--device", "99"], "no OpenCL device 99"),
    ]:
        done = CliRunner().invoke(tune_command, arguments)
        assert done.exit_code == 1
        assert says in done.output
    assert not (bundle.folder / TABLE).exists()
