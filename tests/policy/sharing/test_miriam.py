"""Miriam's tree and table: shards partition the tiles, candidates obey the inequalities."""

from hypothesis import assume, given
from hypothesis import strategies as st

from cotenant.device.sharing import Moment
from cotenant.policy.sharing.miriam import KEPT, MiriamSharing, head_shard, ranked_depths
from tests.policy.sharing.moments import alone, beside_critical

tiles = st.integers(1, 4096)
threads = st.sampled_from([32, 64, 128, 256, 512])
pairs = st.tuples(tiles, threads)
units = st.integers(1, 128)


@given(tiles=tiles, depth=st.integers(0, 13))
def test_shards_of_one_depth_partition_the_tiles_into_halves_of_halves(
    tiles: int, depth: int
) -> None:
    sizes, done = [], 0
    while done < tiles:
        sizes.append(head_shard(tiles, done, depth))
        done += sizes[-1]
    assert done == tiles
    assert len(sizes) == min(tiles, 2**depth)
    assert max(sizes) - min(sizes) <= 1


@given(tiles=tiles, draw=st.data())
def test_any_sequence_of_depths_partitions_the_tiles(tiles: int, draw: st.DataObject) -> None:
    # The critical kernel beside it changes, and with it the depth that is asked for.
    done = 0
    while done < tiles:
        depth = draw.draw(st.integers(0, 13))
        size = head_shard(tiles, done, depth)
        assert 1 <= size <= -(-tiles // 2**depth)
        done += size
    assert done == tiles


@given(units=units, critical=pairs, kernel=pairs, depth_max=st.integers(0, 13))
def test_kept_candidates_obey_the_inequalities_and_are_the_best_fifth(
    units: int, critical: tuple[int, int], kernel: tuple[int, int], depth_max: int
) -> None:
    unit_threads = 1024
    kept = ranked_depths(units, unit_threads, critical, kernel, depth_max)

    def blocks(depth: int) -> int:
        return -(-kernel[0] // 2**depth)

    def score(depth: int) -> float:
        resting = critical[0] % units
        wave = (resting + blocks(depth)) / units
        return wave * (critical[1] + kernel[1]) / unit_threads

    fits = [
        depth
        for depth in range(kernel[0].bit_length() + 1)
        if blocks(depth) <= units - critical[0] % units
        and kernel[1] <= unit_threads - critical[1]
        and depth <= depth_max
    ]
    assert set(kept) <= set(fits)
    assert bool(kept) == bool(fits)
    assert len(kept) <= max(1, KEPT * (kernel[0].bit_length() + 1))
    assert all(0.0 < score(depth) <= 1.0 for depth in kept)
    others = set(fits) - set(kept)
    assert all(score(one) <= score(best) for best in kept for one in others)
    assert [score(one) for one in kept] == sorted((score(one) for one in kept), reverse=True)


@given(moment=beside_critical)
def test_a_shard_beside_critical_work_obeys_the_inequalities(moment: Moment) -> None:
    shard = MiriamSharing().next_shard(moment)
    if shard is None:
        return
    units, unit_threads = moment.device.units, moment.device.unit_threads
    assert moment.critical is not None
    assert shard.tiles == shard.width
    assert shard.tiles <= units - moment.critical.tiles % units
    assert moment.kernel.threads <= unit_threads - moment.critical.threads


@given(moment=beside_critical)
def test_the_launches_of_a_whole_tree_stay_under_the_limit(moment: Moment) -> None:
    rule = MiriamSharing(launch_s=1e-4, overhead_max=0.5)
    shard = rule.next_shard(moment._replace(done=0))
    assume(shard is not None)
    alone_s = moment.kernel.alone_s
    if alone_s is not None:
        assert shard is not None
        # Shards of a depth differ by one tile, so the head is one of the largest.
        depth = next(n for n in range(14) if head_shard(moment.kernel.tiles, 0, n) == shard.tiles)
        assert 2**depth * 1e-4 <= 0.5 * alone_s or depth == 0


def test_a_pair_is_ranked_once() -> None:
    ranked_depths.cache_clear()
    for _ in range(3):
        ranked_depths(8, 1024, (12, 256), (64, 256), 7)
    assert ranked_depths.cache_info()[:2] == (2, 1)


@given(moment=alone, limit=st.integers(1, 5))
def test_what_cannot_be_called_back_is_queued_only_so_deep(moment: Moment, limit: int) -> None:
    shard = MiriamSharing(in_flight_max=limit).next_shard(moment)
    assert (shard is None) == (moment.in_flight >= limit)
