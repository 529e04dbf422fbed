"""Every elastic form computes, bit by bit, what the untransformed kernel computes."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cotenant.device.bundle import read_bundle
from cotenant.device.elastic.launch import forms
from tests.compiler import kernels
from tests.device.elastic.inferences import drawn
from tests.device.elastic.models import MODELS
from tests.device.opencl.bench import Bench, by_hand, same

few = settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
widths = st.integers(1, 9)


@pytest.fixture(scope="module", params=["early", "sums", "axes"])
def hand(request: pytest.FixtureRequest, place: Any) -> Bench:
    ints = np.arange(64, dtype=np.int32)
    poison = np.full(160, -7, np.int32)
    match request.param:
        case "early":
            grid = (8, 1, 1)
            return by_hand(
                place, kernels.EARLY_RETURN, "early", grid, (8, 1, 1), ints, poison, np.int32(61)
            )
        case "sums":
            return by_hand(place, kernels.BARRIERS, "sums", (8, 1, 1), (8, 1, 1), ints, poison)
    return by_hand(place, kernels.THREE_AXES, "axes", (3, 4, 2), (3, 2, 1), poison)


def split(tiles: int, cuts: list[float]) -> list[range]:
    """Ranges that cover all tiles once; some may be empty."""
    ends = sorted(round(cut * tiles) for cut in cuts)
    return [range(a, b) for a, b in zip([0, *ends], [*ends, tiles], strict=True)]


def check_ranges(bench: Bench, cuts: list[float], width: int, rng: np.random.Generator) -> None:
    wanted = bench.plain()
    bench.reset()
    parts = split(bench.kernel.tiles, cuts)
    for number in rng.permutation(len(parts)):
        bench.static(parts[number], width)
    assert same(bench.contents(), wanted)


def check_pauses(bench: Bench, width: int, delays_s: list[float]) -> None:
    wanted = bench.plain()
    bench.reset()
    bench.pause[0] = 1
    bench.preemptive(width).wait()
    assert bench.progress[0] == 0, "a paused kernel claimed a tile"
    for delay_s in [*delays_s, None]:
        before = int(bench.progress[0])
        bench.pause[0] = 0
        event = bench.preemptive(width)
        if delay_s is not None:
            timer = threading.Timer(delay_s, bench.pause.__setitem__, (0, 1))
            timer.start()
            event.wait()
            timer.join()
        event.wait()
        assert before <= int(bench.progress[0]) <= bench.kernel.tiles + width * (len(delays_s) + 1)
    assert bench.progress[0] >= bench.kernel.tiles
    assert same(bench.contents(), wanted)


@few
@given(st.lists(st.floats(0, 1), max_size=4), widths, st.randoms(use_true_random=False))
def test_ranges_of_kernels_by_hand(hand: Bench, cuts: list[float], width: int, random: Any) -> None:
    check_ranges(hand, cuts, width, np.random.default_rng(random.getrandbits(32)))


@few
@given(widths, st.lists(st.floats(0, 2e-4), max_size=3))
def test_pauses_of_kernels_by_hand(hand: Bench, width: int, delays_s: list[float]) -> None:
    check_pauses(hand, width, delays_s)


def test_a_range_leaves_other_tiles_alone(hand: Bench) -> None:
    wanted = hand.plain()
    hand.reset()
    hand.static(range(2, 5), 2)
    touched = [
        int((one != initial).sum())
        for one, initial in zip(
            hand.contents(), [a for a in hand.initial if isinstance(a, np.ndarray)], strict=True
        )
    ]
    all_tiles = [
        int((one != initial).sum())
        for one, initial in zip(
            wanted, [a for a in hand.initial if isinstance(a, np.ndarray)], strict=True
        )
    ]
    assert 0 < sum(touched) < sum(all_tiles)


@pytest.mark.parametrize("at", [0, 3, 14])
def test_a_claimed_tile_is_finished_and_no_other_begun(place: Any, at: int) -> None:
    """The kernel pauses itself in tile `at`, which makes the pause point exact."""
    source = np.zeros(15, np.int32)
    bench = by_hand(
        place, kernels.STOPS_ITSELF, "stops", (15, 1, 1), (1, 1, 1), source, source, np.int32(at)
    )
    bench.buffers[1] = bench.pause_buffer
    bench.initial = (source, None, np.int32(at))
    bench.reset()
    bench.preemptive(1).wait()
    assert bench.progress[0] == at + 1
    assert bench.contents()[0].tolist() == [1] * (at + 1) + [0] * (14 - at)
    bench.pause[0] = 0
    bench.preemptive(1).wait()
    assert bench.contents()[0].tolist() == [1] * 15, "a tile was lost or done twice"


@pytest.mark.parametrize("model", MODELS)
def test_every_kernel_of_a_model(
    model: str, place: Any, bundle_of: Callable[[str], tuple[Path, Path]]
) -> None:
    bundle = read_bundle(bundle_of(model)[1], "opencl")
    about = bundle.manifest
    size = {name: one.size_bytes for name, one in about.places.items()}
    arguments_of = {step.kernel: step.arguments for step in about.steps}
    assert {one.rung for one in about.kernels.values()} == {"preemptive"}
    for name, one in about.kernels.items():
        program = place.device.build(bundle.code(name), name)
        # Weights are the model's own: some are indices.
        arguments = [
            bundle.weights[a] if a in bundle.weights else drawn((size[a] // 4,), seed)
            for seed, a in enumerate(arguments_of[name])
        ]
        check_kernel(Bench(place, forms(program, name, one.grid, one.block, True), arguments))


def check_kernel(bench: Bench) -> None:
    @settings(few, max_examples=3)
    @given(st.lists(st.floats(0, 1), max_size=3), widths, st.randoms(use_true_random=False))
    def ranges(cuts: list[float], width: int, random: Any) -> None:
        check_ranges(bench, cuts, width, np.random.default_rng(random.getrandbits(32)))

    @settings(few, max_examples=3)
    @given(widths, st.lists(st.floats(0, 2e-3), max_size=3))
    def pauses(width: int, delays_s: list[float]) -> None:
        check_pauses(bench, width, delays_s)

    ranges()
    pauses()
