"""Values alive at the same time never share a byte, and the arena is no larger than their sum."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from cotenant.compiler.arena import ALIGNMENT_BYTES, plan_arena
from cotenant.compiler.program import Program, Step
from cotenant.compiler.stages import staged


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Each step reads some earlier values and makes a new one; not every step says which."""
    count = draw(st.integers(1, 12))
    sizes = {f"v{n}": draw(st.integers(0, 3000)) for n in range(count + 1)}
    steps = tuple(
        Step(
            "k",
            (*(f"v{m}" for m in draw(st.sets(st.integers(0, n), max_size=3))), f"v{n + 1}"),
            frozenset({f"v{n + 1}"}) if draw(st.integers(0, 4)) else None,
        )
        for n in range(count)
    )
    outputs = tuple(f"v{n}" for n in draw(st.sets(st.integers(0, count), min_size=1, max_size=2)))
    return Program((), (), ("v0",), outputs, sizes, {}, (), steps, "hand")


@given(programs())
def test_simulated_memory_is_never_overwritten_too_early(program: Program) -> None:
    arena = plan_arena(program)
    owner: dict[int, str] = {}

    def write(name: str) -> None:
        place = arena.places[name]
        assert place.offset_bytes % ALIGNMENT_BYTES == 0
        assert place.offset_bytes + place.size_bytes <= arena.size_bytes
        owner.update(
            dict.fromkeys(range(place.offset_bytes, place.offset_bytes + place.size_bytes), name)
        )

    def read(name: str) -> None:
        place = arena.places[name]
        span = range(place.offset_bytes, place.offset_bytes + place.size_bytes)
        assert all(owner[byte] == name for byte in span)

    write("v0")
    # Steps of a stage may run at once: all of them have begun to write before the first has read.
    for _, stage in groupby(staged(program), key=lambda one: one.stage):
        steps = [one.step for one in stage]
        for step in steps:
            write(step.arguments[-1])
        for step in steps:
            for name in step.arguments:
                read(name)
    for name in program.output_values:
        read(name)
    alone = sum(
        -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for size in program.sizes_bytes.values()
    )
    assert arena.size_bytes <= alone


def test_a_chain_needs_two_values_at_once() -> None:
    steps = tuple(Step("k", (f"v{n}", f"v{n + 1}")) for n in range(9))
    sizes = {f"v{n}": 1024 for n in range(10)}
    program = Program((), (), ("v0",), ("v9",), sizes, {}, (), steps, "hand")
    assert plan_arena(program).size_bytes == 2 * 1024


def test_branches_of_one_stage_share_no_bytes() -> None:
    steps = tuple(
        Step("k", (source, result), frozenset({result}))
        for source, result in [("v0", "v1"), ("v0", "v2"), ("v1", "v3"), ("v2", "v4")]
    )
    sizes = {f"v{n}": 256 for n in range(5)}
    program = Program((), (), ("v0",), ("v3", "v4"), sizes, {}, (), steps, "hand")
    places = plan_arena(program).places
    for one, other in [("v1", "v2"), ("v3", "v4"), ("v1", "v4"), ("v2", "v3")]:
        assert places[one].offset_bytes != places[other].offset_bytes
