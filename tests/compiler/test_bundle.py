"""A bundle comes back as it was written, and one that was changed in any way is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.nvrtc import Assembled, Resources
from cotenant.compiler.program import Kernel, Target, Variant, parse_target
from cotenant.core.errors import ModelError, WorkloadError
from cotenant.device.bundle import MANIFEST, WEIGHTS, read_bundle, seal
from cotenant.device.tuning import TABLE
from tests.compiler.kernels import WAITS, scale_program, varied_program

OPENCL = parse_target("opencl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(scale_program(), "hand", OPENCL, tmp_path / "bundle")
    return tmp_path / "bundle"


def resealed(folder: Path, **changes: object) -> None:
    """Edit the manifest and give it a hash that fits, as another version of us would."""
    path = folder / MANIFEST
    noted = json.loads(path.read_text())
    del noted["sha256"]
    path.write_text(seal({**noted, **changes}))


def test_what_was_written_is_read(folder: Path) -> None:
    bundle = read_bundle(folder, "opencl")
    program = scale_program()
    assert [step.arguments for step in bundle.manifest.steps] == [
        s.arguments for s in program.steps
    ]
    assert bundle.manifest.kernels["scale"].rung == "preemptive"
    assert bundle.manifest.kernels["waits"].rung == "unmodified"
    assert "wait" in str(bundle.manifest.kernels["waits"].reason)
    np.testing.assert_array_equal(bundle.weights["w"], program.constants["w"])
    assert {path.name for path in folder.parent.iterdir()} == {"bundle"}


def test_a_bundle_is_replaced_but_another_folder_is_not(folder: Path, tmp_path: Path) -> None:
    write_bundle(scale_program(), "again", OPENCL, folder)
    assert read_bundle(folder, "opencl").manifest.model == "again"
    other = tmp_path / "photos"
    other.mkdir()
    (other / "a.jpg").write_bytes(b"a")
    with pytest.raises(ModelError, match="is no bundle"):
        write_bundle(scale_program(), "hand", OPENCL, other)
    assert (other / "a.jpg").read_bytes() == b"a"


def test_variants_are_elastic_and_read_again(tmp_path: Path) -> None:
    write_bundle(varied_program(), "hand", OPENCL, tmp_path / "bundle")
    bundle = read_bundle(tmp_path / "bundle", "opencl")
    kernel = bundle.manifest.kernels["scale"]
    assert set(kernel.variants) == {"two", "wide", "wrong", "broken"}, "one block is too large"
    assert {one.rung for one in kernel.variants.values()} == {"preemptive"}
    assert kernel.variants["wide"].grid == (4, 1, 1)
    assert "scale_preemptive" in bundle.variant_sources["scale"]["wide"]
    assert bundle.manifest.kernels["waits"].variants == {}
    path = tmp_path / "bundle" / kernel.variants["two"].source
    path.write_text(path.read_text() + " ")
    with pytest.raises(ModelError, match="edited or damaged"):
        read_bundle(tmp_path / "bundle", "opencl")


def test_a_variant_that_cannot_pause_does_not_stand_for_one_that_can(tmp_path: Path) -> None:
    waits = Kernel("scale", WAITS.replace("waits", "scale"), (16, 1, 1), (4, 1, 1), 0)
    program = scale_program()._replace(variants=(Variant("scale", "waits", waits),))
    write_bundle(program, "hand", OPENCL, tmp_path / "bundle")
    assert read_bundle(tmp_path / "bundle", "opencl").manifest.kernels["scale"].variants == {}


def test_with_figures_of_a_compiler_what_leaves_no_room_is_left_out(tmp_path: Path) -> None:
    target = parse_target("cuda:sm_87")
    text = 'extern "C" __global__ void k(float* x) { x[blockIdx.x] = 1.0f; }'
    kernel = Kernel("k", text, (64, 1, 1), (512, 1, 1), 0)
    registers = {"lean": 24, "fat": 128}
    program = scale_program()._replace(
        kernels=(kernel,),
        steps=(),
        output_values=("v0",),
        variants=tuple(
            Variant("k", name, kernel._replace(source=f"{text} // {name}")) for name in registers
        ),
    )

    def assemble(source: str, name: str) -> Assembled:
        used = next((count for one, count in registers.items() if f"// {one}" in source), 200)
        return Assembled(b"ptx", {name: Resources(32, 0), f"{name}_static": Resources(used, 0)})

    write_bundle(program, "hand", target, tmp_path / "bundle", assemble)
    (found,) = read_bundle(tmp_path / "bundle", "cuda").manifest.kernels.values()
    assert set(found.variants) == {"lean"}, "half of the registers is for a critical block"
    assert found.occupancy == 1.0
    lean = found.variants["lean"]
    assert lean.resources["k_static"].registers == 24
    assert lean.ptx == "kernels/k.lean.ptx"
    assert (tmp_path / "bundle" / lean.ptx).read_bytes() == b"ptx"


def test_the_tuning_table_outlives_only_the_same_bundle(folder: Path) -> None:
    (folder / TABLE).write_text("{}")
    write_bundle(scale_program(), "hand", OPENCL, folder)
    assert (folder / TABLE).read_text() == "{}"
    write_bundle(scale_program(), "another model", OPENCL, folder)
    assert not (folder / TABLE).exists()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([MANIFEST, WEIGHTS, "kernels/scale.cl"]), st.randoms())
def test_any_changed_byte_is_noticed(folder: Path, name: str, random) -> None:  # type: ignore[no-untyped-def]
    content = (folder / name).read_bytes()
    at = random.randrange(len(content))
    changed = bytearray(content)
    changed[at] ^= 1 << random.randrange(8)
    (folder / name).write_bytes(changed)
    before = read_noted(folder, content if name == MANIFEST else None)
    try:
        if read_noted(folder, bytes(changed) if name == MANIFEST else None) != before:
            with pytest.raises(ModelError):
                read_bundle(folder, "opencl")
        elif name != MANIFEST:
            with pytest.raises(ModelError, match="edited or damaged"):
                read_bundle(folder, "opencl")
    finally:
        (folder / name).write_bytes(content)


def read_noted(folder: Path, content: bytes | None) -> object:
    """What a manifest says; spaces between its fields say nothing."""
    if content is None:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 4}, "upgrade cotenant"),
        ({"version": "1"}, "upgrade cotenant"),
        ({"version": 2}, "compile the model again"),
        ({"format": "other"}, "no manifest"),
        ({"target": "cuda:sm_87"}, "compile it again with --target opencl"),
        ({"files": {}}, "no hash"),
        ({"arena_bytes": 8}, "leaves the arena"),
        ({"steps": [{"kernel": "gone", "arguments": [], "stage": 0}]}, "no kernel 'gone'"),
        ({"steps": [{"kernel": "scale", "arguments": [], "stage": 1}]}, "step 0 is in stage 1"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_refusals_name_the_reason(folder: Path, changes: dict[str, object], message: str) -> None:
    resealed(folder, **changes)
    with pytest.raises(ModelError, match=message):
        read_bundle(folder, "opencl")


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="No such file"):
        read_bundle(folder, "opencl")
    with pytest.raises(ModelError, match="is no bundle"):
        read_bundle(tmp_path / "nowhere", "opencl")


@pytest.mark.parametrize("text", ["cuda", "cuda:87", "cuda:sm_", "metal", "", "opencl:1"])
def test_unknown_targets(text: str) -> None:
    with pytest.raises(WorkloadError, match="no target"):
        parse_target(text)


def test_targets_come_back() -> None:
    assert str(parse_target("cuda:sm_90")) == "cuda:sm_90"
    assert isinstance(parse_target("opencl"), Target)
