"""Stages keep every dependence, are as few as can be, and are told in the bundle."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import Program, Step, parse_target
from cotenant.compiler.stages import staged, together
from cotenant.device.bundle import MANIFEST
from cotenant.device.stages import check_stages, grouped
from tests.compiler.kernels import scale_program

NAMES = [f"v{n}" for n in range(6)]


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Any steps over a few values, so that values are written again and again, and one constant."""
    steps = []
    for number in range(draw(st.integers(0, 14))):
        arguments = tuple(draw(st.lists(st.sampled_from([*NAMES, "w"]), min_size=1, max_size=4)))
        writes = draw(st.none() | st.frozensets(st.sampled_from(arguments)))
        steps.append(Step(f"k{number}", arguments, writes))
    sizes = dict.fromkeys(NAMES, 4)
    return Program((), (), (), (), sizes, {"w": None}, (), tuple(steps), "hand")  # type: ignore[dict-item]


def depends(later: Step, earlier: Step) -> bool:
    """Written out: both touch a value that at least one of them writes."""
    for name in set(later.arguments) & set(earlier.arguments) - {"w"}:
        for step in (later, earlier):
            if step.writes is None or name in step.writes:
                return True
    return False


def longest_path(steps: tuple[Step, ...]) -> int:
    lengths: list[int] = []
    for number, step in enumerate(steps):
        before = [lengths[n] for n in range(number) if depends(step, steps[n])]
        lengths.append(1 + max(before, default=0))
    return max(lengths, default=0)


@given(programs())
def test_dependences_cross_stages_in_order_and_no_fewer_stages_would_do(program: Program) -> None:
    order = staged(program)
    stages = {one.step.kernel: one.stage for one in order}
    assert sorted(one.step.kernel for one in order) == sorted(s.kernel for s in program.steps)
    for number, step in enumerate(program.steps):
        for earlier in program.steps[:number]:
            if depends(step, earlier):
                assert stages[earlier.kernel] < stages[step.kernel]
    told = [one.stage for one in order]
    assert told == sorted(told)
    assert set(told) == set(range(longest_path(program.steps)))
    assert check_stages(told) is None
    assert [len(stage) for stage in grouped(told)] == [told.count(n) for n in range(len(set(told)))]
    assert together(program) == sum(len(stage) for stage in grouped(told) if len(stage) > 1)


def test_a_chain_has_as_many_stages_as_steps() -> None:
    steps = tuple(Step("k", (f"v{n}", f"v{n + 1}"), frozenset({f"v{n + 1}"})) for n in range(5))
    program = Program((), (), ("v0",), ("v5",), {}, {}, (), steps, "hand")
    assert [one.stage for one in staged(program)] == [0, 1, 2, 3, 4]
    assert together(program) == 0


def test_two_branches_share_a_stage_unless_nothing_is_known_of_them() -> None:
    steps = (Step("k", ("v0", "v1"), frozenset({"v1"})), Step("k", ("v0", "v2"), frozenset({"v2"})))
    program = Program((), (), ("v0",), ("v1", "v2"), {}, {}, (), steps, "hand")
    assert [one.stage for one in staged(program)] == [0, 0]
    unknown = program._replace(steps=tuple(step._replace(writes=None) for step in steps))
    assert [one.stage for one in staged(unknown)] == [0, 1]


def test_the_manifest_tells_stages(tmp_path: Path) -> None:
    write_bundle(scale_program(), "hand", parse_target("opencl"), tmp_path / "bundle")
    noted = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    assert [step["stage"] for step in noted["steps"]] == [0, 1, 2]
