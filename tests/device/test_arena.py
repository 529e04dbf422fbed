"""Shared memory: whatever one side writes, the other side reads."""

import os

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cotenant.device.arena import Arena, end_of

numbers = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.float16, np.int8, np.int64, np.uint16, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)
texts = st.lists(st.binary(max_size=20), min_size=1, max_size=5).map(
    lambda items: np.array([*items, None], object)[:-1]
)


@given(st.dictionaries(st.text(max_size=5), numbers | texts, max_size=4))
def test_the_other_side_reads_what_was_written(tensors):
    ours = Arena.create()
    theirs = Arena(os.dup(ours.fd))
    places = ours.write({name: [array] for name, array in tensors.items()})
    received = theirs.read(places)
    assert list(received) == list(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(received[name], array)
        assert received[name].dtype == array.dtype
    del received
    ours.close()
    theirs.close()


@given(st.lists(hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3))), min_size=1))
def test_parts_are_joined_along_the_first_axis(parts):
    arena = Arena.create()
    (place,) = arena.write({"x": parts})
    np.testing.assert_array_equal(arena.read([place])["x"], np.concatenate(parts))
    arena.close()


def test_outputs_stand_behind_inputs():
    arena = Arena.create()
    inputs = arena.write({"x": [np.arange(5, dtype=np.int8)]})
    outputs = arena.write({"y": [np.arange(9.0)]}, start=end_of(inputs))
    both = arena.read([*inputs, *outputs])
    np.testing.assert_array_equal(both["x"], np.arange(5))
    np.testing.assert_array_equal(both["y"], np.arange(9.0))
    assert outputs[0][3] % 64 == 0
    del both
    arena.close()
