"""The elastic device over the CUDA driver and the fake, with interpreters as they are served."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cotenant.core.errors import LaneLost
from cotenant.core.task import Task
from cotenant.device.base import Completed, Failed, Loaded, LoadFailed
from cotenant.device.cpu.scheduling import best_rung
from cotenant.device.elastic.device import ElasticDevice
from cotenant.device.sharing import Sharing
from tests.device.cuda.faked import FAKED
from tests.device.cuda.programs import bundled
from tests.device.elastic.events import following, launch, load, output, random_words
from tests.device.elastic.programs import huge_program, spin_program, spun
from tests.device.elastic.rules import Motley, Pausing, Plain

Opened = Callable[[Sharing], ElasticDevice]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    devices: list[ElasticDevice] = []

    def make(rule: Sharing) -> ElasticDevice:
        devices.append(ElasticDevice(FAKED, {"gpu0": 0}, rule, best_rung()))
        return devices[-1]

    yield make
    for device in devices:
        device.close()


@pytest.mark.parametrize("rule", [Plain(), Pausing(), Pausing(5, 3), Motley()])
def test_results_are_right_beside_critical_work(
    rule: Sharing, opened: Opened, tmp_path: Path
) -> None:
    device = opened(rule)
    (component,) = device.components
    assert (component.kind, component.width) == ("cuda", 4)
    assert isinstance(load(device, bundled(spin_program(steps=4), tmp_path, "be"), "be"), Loaded)
    short = bundled(spin_program(steps=1, tiles=3), tmp_path, "crit")
    load(device, short, "crit", criticality="critical")
    for seed in range(3):
        x, y = random_words(256, seed), random_words(12, seed)
        wanted = {"be": spun(x, 80_000), "crit": spun(y, 20_000)}
        launch(device, "be", x)
        for _ in range(3):
            launch(device, "crit", y)
            answered = set[str]()
            while "crit" not in answered:
                for event in following(device, 1):
                    answered.add(event.task)
                    np.testing.assert_array_equal(output(event), wanted.pop(event.task))
            wanted["crit"] = spun(y, 20_000)
        while "be" in wanted:
            for event in following(device, 1):
                np.testing.assert_array_equal(output(event), wanted.pop(event.task))


@pytest.mark.parametrize("rule", [Plain(), Pausing(), Motley()])
def test_best_effort_tasks_have_streams_of_their_own(
    rule: Sharing, opened: Opened, tmp_path: Path
) -> None:
    device = opened(rule)
    folder = bundled(spin_program(steps=3), tmp_path, "be")
    for name in ("one", "two"):
        load(device, folder, name)
    load(device, bundled(spin_program(steps=1, tiles=3), tmp_path, "crit"), "crit",
         criticality="critical")  # fmt: skip
    for seed in range(3):
        given = {name: random_words(256, seed + place) for place, name in enumerate(("one", "two"))}
        wanted = {name: spun(x, 60_000) for name, x in given.items()}
        for name, x in given.items():
            launch(device, name, x)
        y = random_words(12, seed)
        for _ in range(2):
            launch(device, "crit", y)
            wanted["crit"] = spun(y, 20_000)
            while "crit" in wanted:
                for event in following(device, 1):
                    np.testing.assert_array_equal(output(event), wanted.pop(event.task))
        while wanted:
            for event in following(device, 1):
                np.testing.assert_array_equal(output(event), wanted.pop(event.task))
        device.unload("two")
        load(device, folder, "two")


def test_what_does_not_fit_and_what_is_too_new_is_refused_and_the_others_stay_up(
    opened: Opened, tmp_path: Path
) -> None:
    device = opened(Plain())
    load(device, bundled(spin_program(), tmp_path, "good"), "crit", criticality="critical")
    for folder, says in [
        (bundled(huge_program(), tmp_path, "huge"), "unload another task"),
        (bundled(spin_program(), tmp_path, "newer", sm=120), "compiled for sm_120"),
    ]:
        refused = load(device, folder, folder.name)
        assert isinstance(refused, LoadFailed)
        assert says in str(refused.error)
    x = random_words(256, 4)
    launch(device, "crit", x)
    np.testing.assert_array_equal(output(following(device, 1)[0]), spun(x, 60_000))


def test_a_context_that_is_broken_makes_a_new_interpreter(opened: Opened, tmp_path: Path) -> None:
    device = opened(Plain())
    load(device, bundled(spin_program(steps=1), tmp_path, "good"), "good")
    before = device.lanes()["good"][0]
    wild = spin_program(steps=1)
    bad = wild._replace(
        kernels=(wild.kernels[0]._replace(
            name="wild", source=wild.kernels[0].source.replace("spin", "wild")),),
        steps=(wild.steps[0]._replace(kernel="wild"),),
    )  # fmt: skip
    device.load(Task(name="bad", model=str(bundled(bad, tmp_path, "bad"))), "gpu0")
    refused, lost, back = following(device, 3)
    assert isinstance(refused, LoadFailed)
    assert "ILLEGAL_ADDRESS" in str(refused.error)
    assert isinstance(lost, Failed)
    assert isinstance(lost.error, LaneLost)
    assert isinstance(back, Loaded)
    assert device.lanes()["good"][0] != before
    x = random_words(256, 5)
    launch(device, "good", x)
    (event,) = following(device, 1)
    assert isinstance(event, Completed)
    np.testing.assert_array_equal(output(event), spun(x, 20_000))
