"""Kinds of accelerators: which component a bundle goes to, and what is said where none is."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cotenant.bench.suite_run import Place, choose_place
from cotenant.cli.devices import devices
from cotenant.cli.tune import tune
from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import parse_target
from cotenant.core.errors import DeviceError, Unsupported, WorkloadError
from cotenant.core.hardware import Capability, Component
from cotenant.core.task import Task
from cotenant.device.accelerators import KINDS, open_place
from cotenant.device.bundle import bundle_kind
from cotenant.device.cuda.kind import CUDA
from cotenant.device.elastic.find import Found, find_devices
from cotenant.device.elastic.kind import Kind
from cotenant.device.opencl.kind import OPENCL
from cotenant.runtime.hardware import housed
from tests.compiler.kernels import scale_program
from tests.device.cuda.programs import bundled

FOUND = {
    "opencl": (Found("P: Mali", 4, 1 << 30, "opencl"),),
    "cuda": (Found("CUDA: Orin", 16, 1 << 33, "cuda:sm_87"),),
}
COMPONENTS = [
    Component("cpu0", "cpu", (0,), Capability.GATED),
    Component("mali", "opencl", (), Capability.ELASTIC, 4),
    Component("orin", "cuda", (), Capability.ELASTIC, 16),
]


def test_a_bundle_goes_to_a_component_of_its_kind(tmp_path: Path) -> None:
    cuda = bundled(scale_program(), tmp_path, "cuda")
    opencl = tmp_path / "opencl"
    write_bundle(scale_program(), "hand", parse_target("opencl"), opencl)
    assert (bundle_kind(cuda), bundle_kind(opencl)) == ("cuda", "opencl")
    for model, component in [(cuda, "orin"), (opencl, "mali"), ("m.onnx", "cpu0")]:
        assert housed(Task(name="t", model=str(model)), COMPONENTS).component == component
    with pytest.raises(WorkloadError, match="kind: cuda, device: 0"):
        housed(Task(name="t", model=str(cuda)), COMPONENTS[:2])
    with pytest.raises(WorkloadError, match=r"of kind cuda.*--target cuda:sm_87"):
        housed(Task(name="t", model="m.onnx"), COMPONENTS[2:])


def test_a_damaged_bundle_goes_where_bundles_run_and_is_refused_there(tmp_path: Path) -> None:
    folder = bundled(scale_program(), tmp_path, "b")
    (folder / "manifest.json").write_text("{")
    assert bundle_kind(folder) is None
    assert housed(Task(name="t", model=str(folder)), COMPONENTS).component == "mali"


def test_components_and_what_to_compile_for_them_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def only_cuda(kind: Kind) -> tuple[Found, ...]:
        if kind is OPENCL:
            raise DeviceError("no package")
        return FOUND["cuda"]

    monkeypatch.setattr("cotenant.cli.devices.find_devices", only_cuda)
    text = CliRunner().invoke(devices, []).output
    assert "cuda, device 0: CUDA: Orin, 16 units" in text
    assert "--target cuda:sm_87" in text
    assert "opencl: none; no package" in text
    noted = json.loads(CliRunner().invoke(devices, ["--json"]).output)
    assert [(one["kind"], one.get("target")) for one in noted["components"]] == [
        ("cpu", None), ("cuda", "cuda:sm_87")
    ]  # fmt: skip


def test_suites_run_on_the_first_kind_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    there = dict(FOUND)
    monkeypatch.setattr(
        "cotenant.bench.suite_run.find_devices", lambda kind: there.get(kind.name, ())
    )
    assert choose_place(None) == Place("cuda", "CUDA: Orin", "cuda:sm_87", 1 << 33)
    assert choose_place("opencl") == Place("opencl", "P: Mali", "opencl")
    del there["cuda"]
    assert choose_place(None).kind == "opencl"
    with pytest.raises(DeviceError, match=r"no CUDA device.*NVIDIA's driver.*--component cpu"):
        choose_place("cuda")
    there.clear()
    assert choose_place(None).kind == "cpu"


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_kind_whose_package_is_missing(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = kind._replace(package="no_such_package.inside", room="no_such_room")
    with pytest.raises(DeviceError, match=rf"pip install 'cotenant\[{kind.name}\]'"):
        find_devices(nowhere)
    with pytest.raises(Unsupported, match=rf"pip install 'cotenant\[{kind.name}\]'"):
        open_place(nowhere)


def test_tuning_a_cuda_bundle_needs_a_cuda_device(tmp_path: Path) -> None:
    try:
        if find_devices(CUDA):
            pytest.skip("there is a CUDA device")
    except DeviceError:
        pass
    done = CliRunner().invoke(tune, [str(bundled(scale_program(), tmp_path, "b"))])
    assert done.exit_code == 1
    assert "CUDA" in done.output
    assert "kind: opencl" in done.output
