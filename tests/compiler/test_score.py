"""The score of a schedule and what a multiprocessor holds have the properties of their formulas."""

from hypothesis import given
from hypothesis import strategies as st

from cotenant.compiler.occupancy import Limits, Need, limits_of, occupancy, resident_blocks
from cotenant.compiler.score import KEPT, Candidate, best, o_score, score, wi_score

limits = st.sampled_from([None, "sm_53", "sm_75", "sm_86", "sm_87", "sm_90", "sm_999"]).map(
    limits_of
)
needs = st.builds(
    Need,
    blocks=st.integers(1, 10_000),
    threads=st.integers(1, 1024),
    shared_bytes=st.integers(0, 256 << 10),
    registers=st.none() | st.integers(1, 255),
)
candidates = st.builds(
    Candidate,
    family=st.sampled_from("abc"),
    need=needs,
    multiplications=st.floats(1, 1e9),
    reads=st.floats(0, 1e9),
)


@given(needs, limits)
def test_what_is_resident_stays_within_every_limit(need: Need, limits: Limits) -> None:
    blocks = resident_blocks(need, limits)
    assert 0 <= blocks <= limits.unit_blocks
    assert blocks * need.threads <= limits.unit_threads
    assert blocks * need.shared_bytes <= limits.unit_shared_bytes
    if limits.unit_registers is not None:
        assert blocks * need.threads * (need.registers or 0) <= limits.unit_registers
    assert 0 <= occupancy(need, limits) <= 1


@given(needs, limits, st.integers(1, 64), st.integers(1, 4096))
def test_who_needs_more_is_never_held_more_often(
    need: Need, limits: Limits, registers: int, shared_bytes: int
) -> None:
    more = need._replace(
        registers=(need.registers or 0) + registers, shared_bytes=need.shared_bytes + shared_bytes
    )
    assert resident_blocks(more, limits) <= resident_blocks(need, limits)


@given(st.integers(0, 500), st.integers(0, 2048), needs, limits)
def test_wi_score_is_a_part_of_the_device(
    critical_blocks: int, critical_threads: int, need: Need, limits: Limits
) -> None:
    found = wi_score(critical_blocks, critical_threads, need.blocks, need.threads, limits)
    assert 0 <= found <= 1
    left = critical_blocks % limits.units
    if need.blocks > limits.units - left or need.threads > limits.unit_threads - critical_threads:
        assert found == 0


@given(candidates, limits)
def test_a_score_is_a_part_and_needs_cheap_claims(candidate: Candidate, limits: Limits) -> None:
    assert 0 <= score(candidate, limits) <= 1
    if not o_score(candidate) or not resident_blocks(candidate.need, limits):
        assert score(candidate, limits) == 0


@given(candidates, limits, st.integers(1, 1000))
def test_more_blocks_never_score_less_while_claims_stay_cheap(
    candidate: Candidate, limits: Limits, more: int
) -> None:
    wider = candidate._replace(need=candidate.need._replace(blocks=candidate.need.blocks + more))
    if o_score(wider):
        assert score(wider, limits) >= score(candidate, limits)


@given(
    st.dictionaries(st.text("xyz", min_size=1, max_size=4), candidates, max_size=30),
    limits,
    st.integers(1, 8),
)
def test_the_best_are_few_possible_and_of_every_family(
    space: dict[str, Candidate], limits: Limits, at_most: int
) -> None:
    kept = best(space, limits, at_most)
    assert len(set(kept)) == len(kept) <= at_most
    possible = [name for name, one in space.items() if resident_blocks(one.need, limits)]
    assert set(kept) <= set(possible)
    families = {space[name].family for name in possible}
    assert len({space[name].family for name in kept}) == min(at_most, len(families))
    assert len(best(space, limits, 100)) <= len(families) + KEPT * len(possible)
    if kept:
        highest = max(score(space[name], limits) for name in possible)
        assert score(space[kept[0]], limits) == highest
