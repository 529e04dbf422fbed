"""Programs written by hand whose results are known, and bundles of them."""

from pathlib import Path

import numpy as np

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.program import Kernel, Program, Step, parse_target
from cotenant.core.model import TensorSpec

_A, _C = 1664525, 1013904223

SPIN = """
__kernel void {name}(__global const uint* x, __global uint* y) {{
  uint v = x[get_global_id(0)];
  for (int i = 0; i < {spins}; ++i) v = v * 1664525u + 1013904223u;
  y[get_global_id(0)] = v;
}}
"""

SUM = """
__kernel void sum(__global const uint* a, __global const uint* b, __global const uint* c,
                  __global uint* y) {
  const int i = (int)get_global_id(0);
  y[i] = a[i] + 3u * b[i] + 5u * c[i];
}
"""

BRANCH_SPINS = {"a": 300, "b": 9000, "c": 2000}

ENDLESS = """
__kernel void endless(volatile __global uint* x, __global uint* y) {
  while (x[0] == 1u) { }
  y[get_global_id(0)] = x[get_global_id(0)];
}
"""


def spin_program(steps: int = 3, tiles: int = 64, spins: int = 20_000, lanes: int = 4) -> Program:
    """So many steps of a linear congruential generator, on each of the inputs."""
    shape, size = (tiles * lanes,), 4 * tiles * lanes
    values = [f"v{number}" for number in range(steps + 1)]
    return Program(
        inputs=(TensorSpec("x", "uint32", shape),),
        outputs=(TensorSpec("y", "uint32", shape),),
        input_values=(values[0],),
        output_values=(values[-1],),
        sizes_bytes=dict.fromkeys(values, size),
        constants={},
        kernels=(
            Kernel("spin", SPIN.format(name="spin", spins=spins), (tiles, 1, 1), (lanes, 1, 1), 0),
        ),
        steps=tuple(Step("spin", (values[n], values[n + 1])) for n in range(steps)),
        compiler="hand",
    )


def spun(x: np.ndarray, count: int) -> np.ndarray:
    """What so many turns make of x: the affine map's power, by squaring."""
    a, c = 1, 0  # the map that does nothing
    square_a, square_c = _A, _C
    while count:
        if count & 1:
            a, c = a * square_a % 2**32, (c * square_a + square_c) % 2**32
        square_a, square_c = square_a * square_a % 2**32, (square_c * square_a + square_c) % 2**32
        count >>= 1
    return (x.astype(np.uint64) * a + c).astype(np.uint32)


def branching_program(modules: int = 3, tiles: int = 16) -> Program:
    """Modules of three branches of uneven length behind a common step, and a weighted sum."""
    lanes, shape = 4, (4 * tiles,)
    steps: list[Step] = []

    def step(kernel: str, *arguments: str) -> str:
        result = f"v{len(steps) + 1}"
        steps.append(Step(kernel, (*arguments, result), frozenset({result})))
        return result

    last = "v0"
    for _ in range(modules):
        last = step("spin_a", last)
        left = step("spin_b", last)
        right = step("spin_c", step("spin_a", last))
        last = step("sum", left, right, step("spin_c", last))
    kernels = [SPIN.format(name=f"spin_{one}", spins=spins) for one, spins in BRANCH_SPINS.items()]
    names = [*(f"spin_{one}" for one in BRANCH_SPINS), "sum"]
    return Program(
        inputs=(TensorSpec("x", "uint32", shape),),
        outputs=(TensorSpec("y", "uint32", shape),),
        input_values=("v0",),
        output_values=(last,),
        sizes_bytes={f"v{n}": 4 * lanes * tiles for n in range(len(steps) + 1)},
        constants={},
        kernels=tuple(
            Kernel(name, source, (tiles, 1, 1), (lanes, 1, 1), 0)
            for name, source in zip(names, [*kernels, SUM], strict=True)
        ),
        steps=tuple(steps),
        compiler="hand",
    )


def branched(x: np.ndarray, modules: int = 3) -> np.ndarray:
    """What the branching program makes of x."""
    a, b, c = BRANCH_SPINS.values()
    for _ in range(modules):
        left, right, middle = (spun(x, count) for count in (a + b, a + a + c, a + c))
        x = left + right * np.uint32(3) + middle * np.uint32(5)
    return x


def endless_program() -> Program:
    """It gives back its input, unless that begins with 1: then it never ends."""
    return Program(
        inputs=(TensorSpec("x", "uint32", (4,)),),
        outputs=(TensorSpec("y", "uint32", (4,)),),
        input_values=("v0",),
        output_values=("v1",),
        sizes_bytes={"v0": 16, "v1": 16},
        constants={},
        kernels=(Kernel("endless", ENDLESS, (1, 1, 1), (4, 1, 1), 0),),
        steps=(Step("endless", ("v0", "v1")),),
        compiler="hand",
    )


def huge_program() -> Program:
    """More memory than any device has."""
    program = spin_program(steps=1)
    return program._replace(sizes_bytes={**program.sizes_bytes, "v1": 1 << 46})


def bundled(program: Program, folder: Path, name: str) -> Path:
    write_bundle(program, name, parse_target("opencl"), folder / name)
    return folder / name
