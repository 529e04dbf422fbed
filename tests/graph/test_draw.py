"""Drawn weights: exact against a slow computation in integers, and normal as far as promised."""

import hashlib
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import PCG64

from cotenant.graph.draw import Weight, draw


def values(weight: Weight, stream: str = "net/0") -> np.ndarray:
    return np.frombuffer(b"".join(draw(weight, stream)), "<f4")


@given(st.integers(1, 50), st.floats(-2, 2), st.floats(0.01, 3), st.text(min_size=1, max_size=9))
def test_draw_equals_slow_arithmetic(size: int, mean: float, std: float, name: str) -> None:
    key = hashlib.sha256(f"net/0/{name}".encode("utf-8", "surrogatepass")).digest()
    bits = PCG64(int.from_bytes(key, "big"))
    scale = np.float32(std / math.sqrt(4 * (2**32 - 1) / 12))
    expected = []
    for _ in range(size):
        raw = int(bits.random_raw())
        total = sum(raw >> shift & 0xFFFF for shift in (0, 16, 32, 48)) - 2 * 0xFFFF
        expected.append(np.float32(np.float32(total) * scale) + np.float32(mean))
    drawn = values(Weight(name, (size,), mean, std))
    assert drawn.tobytes() == np.array(expected, "<f4").tobytes()


def test_pieces_do_not_show() -> None:
    # More than one piece; the beginning is that of a weight that has only one.
    many = values(Weight("w", (3, 100_000), 0.0, 1.0))
    assert many.size == 300_000
    np.testing.assert_array_equal(many[:1000], values(Weight("w", (1000,), 0.0, 1.0)))
    assert len(np.unique(many[262_144 - 500 : 262_144 + 500])) > 900


def test_moments_are_those_of_the_named_distribution() -> None:
    size = 200_000
    drawn = values(Weight("w", (size,), 0.5, 2.0)).astype(np.float64)
    assert abs(drawn.mean() - 0.5) < 5 * 2.0 / math.sqrt(size)
    assert abs(drawn.std() - 2.0) < 5 * 2.0 / math.sqrt(2 * size)
    assert np.abs(drawn - 0.5).max() < 3.4642 * 2.0  # sqrt(12) deviations and no more
    # Excess kurtosis of a sum of four uniforms is -0.3; of a normal one it would be 0.
    kurtosis = np.mean(((drawn - drawn.mean()) / drawn.std()) ** 4) - 3
    assert abs(kurtosis + 0.3) < 0.05


def test_streams_differ_by_model_seed_and_weight() -> None:
    weight = Weight("w", (64,), 0.0, 1.0)
    streams = [values(weight, stream).tobytes() for stream in ("a/0", "a/1", "b/0")]
    streams.append(values(weight._replace(name="v"), "a/0").tobytes())
    assert len(set(streams)) == 4
