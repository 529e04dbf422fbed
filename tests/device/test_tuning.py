"""A tuning table comes back as it was written; an edited or foreign one is refused, once, aloud."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import parse_target
from cotenant.core.errors import ModelError
from cotenant.device.bundle import Bundle, read_bundle, seal
from cotenant.device.tuning import (
    TABLE,
    Here,
    Table,
    Times,
    Tuned,
    Width,
    read_table,
    table_path,
    tuned_kernels,
    write_table,
)
from tests.compiler.kernels import varied_program

HERE = Here("Some platform: some device", "1.0; OpenCL 3.0")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_bundle(varied_program(), "hand", parse_target("opencl"), tmp_path / "bundle")
    return read_bundle(tmp_path / "bundle", "opencl")


def table_of(bundle: Bundle, **changes: Any) -> Table:
    times = {name: Times(alone_s=1e-3, beside_s=1.0 / 3.0) for name in ("default", "two")}
    return Table(
        cotenant="0.1.0",
        bundle_sha256=bundle.sha256,
        device=HERE.device,
        driver=HERE.driver,
        rounds=3,
        background_s=2e-4,
        kernels={
            "scale": Tuned(
                chosen="two",
                schedules=times,
                refused={"wrong": "its results differ"},
                widths=(
                    Width(width=1, static_s=0.1, cost=-0.01),
                    Width(width=2, static_s=0.06, cost=1.0 / 3.0),
                    Width(width=4, static_s=0.04),
                ),
            ),
            "waits": Tuned(chosen="default", schedules=times, widths=()),
        },
    ).model_copy(update=changes)


def test_a_table_comes_back(bundle: Bundle) -> None:
    assert read_table(bundle, HERE) is None
    assert tuned_kernels(bundle, HERE) == {}
    table = table_of(bundle)
    path = write_table(bundle.folder, table)
    assert read_table(bundle, HERE) == table
    found = tuned_kernels(bundle, HERE)
    assert {name: one.chosen for name, one in found.items()} == {"scale": "two", "waits": "default"}
    assert found["scale"].costs == ((1, -0.01), (2, 1.0 / 3.0)), "or what was not measured counts"
    assert found["waits"].costs == ()
    assert [one.name for one in bundle.folder.iterdir() if TABLE in one.name] == [path.name]
    assert read_bundle(bundle.folder, "opencl").sha256 == bundle.sha256, "it is not sealed"


def test_a_table_of_version_1_is_read_and_knows_no_costs(bundle: Bundle) -> None:
    noted = table_of(bundle).model_dump(mode="json") | {"version": 1}
    for width in noted["kernels"]["scale"]["widths"]:
        del width["cost"]
    (bundle.folder / TABLE).write_text(seal(noted))
    scale = tuned_kernels(bundle, HERE)["scale"]
    assert (scale.chosen, scale.costs) == ("two", ())
    assert [one.width for one in scale.widths] == [1, 2, 4]


def scale_with(**width: Any) -> dict[str, Any]:
    widths = [{"width": 1, "static_s": 0.1, "cost": 0.0} | width]
    return {"kernels": {"scale": {"chosen": "two", "schedules": {}, "widths": widths}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bundle_sha256": "0" * 64}, "another bundle"),
        ({"device": "Other"}, "of 'Other', and this is 'Some platform"),
        ({"driver": "0.9"}, "driver '0.9'"),
        ({"version": 3}, "version 3, and 1 and 2 are read"),
        ({"version": None}, "version None"),
        (scale_with(width=0), "widths.0.width"),
        (scale_with(width=-1), "widths.0.width"),
        (scale_with(cost=math.nan), "widths.0.cost"),
        (scale_with(cost=math.inf), "widths.0.cost"),
        (scale_with(cost=-1.5), "widths.0.cost"),
        (scale_with(cost="cheap"), "widths.0.cost"),
        (scale_with(static_s=math.nan), "widths.0.static_s"),
        ({"format": "other"}, "no tuning table"),
        ({"surprise": 1}, "surprise"),
        ({"kernels": {"gone": {"chosen": "two", "schedules": {}, "widths": []}}}, "'gone'"),
        ({"kernels": {"scale": {"chosen": "red", "schedules": {}, "widths": []}}}, "'red'"),
    ],
)
def test_a_foreign_table_is_refused(
    bundle: Bundle, changes: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    noted = table_of(bundle).model_dump(mode="json") | changes
    (bundle.folder / TABLE).write_text(seal(noted))
    with pytest.raises(ModelError, match=message):
        read_table(bundle, HERE)
    with caplog.at_level(logging.INFO):
        assert tuned_kernels(bundle, HERE) == {}
    (line,) = caplog.messages
    assert message in line
    assert "cotenant tune" in line


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_what_is_no_table(bundle: Bundle, content: str) -> None:
    (bundle.folder / TABLE).write_text(content)
    with pytest.raises(ModelError, match="default schedules"):
        read_table(bundle, HERE)


def test_edited_figures_are_noticed(bundle: Bundle) -> None:
    path = write_table(bundle.folder, table_of(bundle))
    noted = json.loads(path.read_text())
    noted["kernels"]["scale"]["schedules"]["two"]["beside_s"] /= 2
    path.write_text(json.dumps(noted))
    with pytest.raises(ModelError, match="edited or damaged"):
        read_table(bundle, HERE)


def test_a_bundle_that_changed_takes_its_table_out_of_use(bundle: Bundle) -> None:
    write_table(bundle.folder, table_of(bundle))
    table = (bundle.folder / TABLE).read_bytes()
    write_bundle(varied_program(), "newer", parse_target("opencl"), bundle.folder)
    (bundle.folder / TABLE).write_bytes(table)
    assert tuned_kernels(read_bundle(bundle.folder, "opencl"), HERE) == {}


def test_a_folder_that_cannot_be_written(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match="copy the bundle"):
        write_table(bundle.folder / "nowhere", table_of(bundle))


def test_the_table_of_a_zip_lies_beside_it(tmp_path: Path) -> None:
    folder, file = tmp_path / "model", tmp_path / "model.zip"
    folder.mkdir()
    file.write_bytes(b"PK")
    assert table_path(folder) == folder / TABLE
    assert table_path(file) == tmp_path / f"model.zip.{TABLE}"
