"""The trial of a kernel passes what is right, and notices every way of being wrong."""

from typing import Any

import numpy as np
import pytest

from cotenant.bench.kernel_trial import Trial
from cotenant.compiler.elastic import make_elastic
from cotenant.compiler.program import Kernel
from cotenant.compiler.source import Language
from cotenant.device.bundle import Code
from tests.compiler import kernels

SIZES = {"x": 4 * 64, "y": 4 * 64, "z": 4 * 144}


def trial(place: Any, text: str, name: str, changed: tuple[str, str] | None = None) -> Trial:
    source, made = text, make_elastic(text, Language.OPENCL).text
    if changed is not None:
        old, new = changed
        assert old in made
        made = made.replace(old, new)
    grid, block, arguments = {
        "sums": ((8, 1, 1), (8, 1, 1), ("x", "y")),
        "axes": ((3, 4, 2), (3, 2, 1), ("z",)),
        "scale": ((16, 1, 1), (4, 1, 1), ("x", "w", "y")),
    }[name]
    return Trial(
        place,
        Kernel(name, source, grid, block, 0),
        Code(made),
        arguments=arguments,
        constants={"w": np.arange(4, dtype=np.float32)},
        sizes_bytes=SIZES,
    )


RIGHT = [(kernels.BARRIERS, "sums"), (kernels.THREE_AXES, "axes"), (kernels.SCALE, "scale")]


@pytest.mark.parametrize(("text", "name"), RIGHT)
def test_right_forms_agree(place: Any, text: str, name: str) -> None:
    one = trial(place, text, name)
    assert all(one.agrees(np.random.default_rng(seed)) for seed in range(5))
    costs = one.costs(3, np.random.default_rng(0))
    assert len(costs) == 3
    assert min(map(min, costs)) > 0


EITHER = [
    ("cotenant_tile = cotenant_begin +", "cotenant_tile = cotenant_begin + 1 +"),
    ("*cotenant_pause ? 0xffffffffu :", ""),
    ("(cotenant_progress, cotenant_claim)", "(cotenant_progress, cotenant_claim + 1u)"),
]
PRIVATE = [
    ("cotenant_tile < cotenant_end;", "cotenant_tile + 1 < cotenant_end;"),
    ("if (cotenant_first >= cotenant_end)", "if (cotenant_first >= cotenant_end - 1)"),
    ("? cotenant_end : cotenant_first", "? cotenant_first : cotenant_first"),
]
"""Of forms that count tiles in each thread ..."""
LOCAL = [
    ("if (cotenant_tile >= cotenant_end)", "if (cotenant_tile >= cotenant_end - 1)"),
    ("? cotenant_end : cotenant_tile", "? cotenant_tile : cotenant_tile"),
    ("cotenant_next = cotenant_tile + 1u", "cotenant_next = cotenant_tile + 2u"),
    ("cotenant_tile + (uint)get_num_groups(0)", "cotenant_tile + 1u + (uint)get_num_groups(0)"),
    ("cotenant_tile / cotenant_x % cotenant_y", "cotenant_tile / cotenant_x % 1u"),
]
"""... and in local memory."""


@pytest.mark.parametrize(
    ("text", "name", "changed"),
    [
        *((kernels.BARRIERS, "sums", changed) for changed in EITHER + PRIVATE),
        *((kernels.THREE_AXES, "axes", changed) for changed in EITHER + LOCAL),
    ],
)
def test_wrong_forms_are_noticed(
    place: Any, text: str, name: str, changed: tuple[str, str]
) -> None:
    one = trial(place, text, name, changed)
    assert not all(one.agrees(np.random.default_rng(seed)) for seed in range(20))
