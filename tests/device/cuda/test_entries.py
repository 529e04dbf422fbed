"""What the driver hands to a kernel is what the PTX of that kernel takes, entry by entry."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cotenant.compiler.assembly import AssemblyCache
from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import Program, parse_target
from cotenant.device.bundle import Bundle, Code, Schedule, read_bundle
from cotenant.device.cuda.driver import open_place
from cotenant.device.cuda.nvrtc import available
from cotenant.device.elastic.driver import Argument
from cotenant.device.elastic.launch import forms, launch_plain, launch_preemptive, launch_static
from cotenant.device.elastic.place import Place
from tests.compiler.kernels import varied_program
from tests.device.cuda.fake import FakeCuda, entries_of
from tests.device.cuda.programs import in_cuda
from tests.device.elastic.inferences import zoo_program
from tests.device.elastic.models import MODELS
from tests.device.elastic.programs import branching_program, spin_program

pytestmark = pytest.mark.skipif(not available(), reason="needs NVRTC: pip install 'cotenant[ptx]'")

SM = "sm_87"


def compiled(program: Program, folder: Path) -> Bundle:
    cache = AssemblyCache(folder / "ptx")
    target = parse_target(f"cuda:{SM}")
    write_bundle(
        program,
        "hand",
        target,
        folder / "bundle",
        lambda source, name: cache.assemble(source, name, SM),
    )
    return read_bundle(folder / "bundle", "cuda")


@pytest.mark.parametrize("program", [spin_program(), branching_program(), varied_program()])
def test_kernels_by_hand(program: Program, tmp_path: Path) -> None:
    check_all(compiled(in_cuda(program), tmp_path))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", MODELS)
def test_kernels_of_a_model(model: str, tmp_path: Path) -> None:
    _, program = zoo_program(model, parse_target(f"cuda:{SM}"), tmp_path)
    check_all(compiled(program, tmp_path))


def check_all(bundle: Bundle) -> None:
    counts = {step.kernel: len(step.arguments) for step in bundle.manifest.steps}
    for name, about in bundle.manifest.kernels.items():
        check(bundle.code(name), name, about, counts[name])
        for variant, other in about.variants.items():
            check(bundle.code(name, variant), name, other, counts[name])


def check(code: Code, name: str, about: Schedule, count: int) -> None:
    """Launch every form on a device that notes what was packed, and compare with the PTX."""
    assert code.ptx is not None
    entries = entries_of(code.ptx)
    elastic = about.rung == "preemptive"
    suffixes = ("", "_static", "_preemptive") if elastic else ("",)
    assert set(entries) == {f"{name}{suffix}" for suffix in suffixes}
    seen: dict[str, Sequence[int]] = {}
    fake = FakeCuda(sm=87, bodies={})
    place = open_place(0, fake)
    made = forms(
        place.device.build(code, name),
        name,
        about.grid,
        about.block,
        elastic,
        shared_bytes=about.shared_bytes,
    )
    word, counter = place.device.word(), place.device.buffer(4)
    arguments: list[Argument] = [place.device.buffer(256) for _ in range(count)]
    recorder = _Recorder(place, seen)
    launch_plain(recorder.place, made, arguments)
    if elastic:
        launch_static(recorder.place, made, arguments, range(made.tiles), 1)
        launch_preemptive(
            recorder.place, made, arguments, progress=counter, pause=word.buffer, width=1
        )
    assert {entry: tuple(sizes) for entry, sizes in seen.items()} == entries


class _Recorder:
    """A place whose queue packs arguments, and notes how many bytes each of them has."""

    def __init__(self, place: Place, seen: dict[str, Sequence[int]]) -> None:
        self._seen = seen
        self.place = place._replace(queue=self)  # type: ignore[arg-type]

    def launch(self, kernel, blocks, block, arguments, behind=()) -> None:  # type: ignore[no-untyped-def]
        kernel.packed(arguments)  # counts them against the entry, too
        self._seen[kernel.name] = [4 if isinstance(one, np.uint32) else 8 for one in arguments]
