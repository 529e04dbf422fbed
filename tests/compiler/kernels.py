"""Kernels written by hand, with the traps that elastic forms must not fall into."""

import numpy as np

from cotenant.compiler.program import Kernel, Program, Step, Variant
from cotenant.core.model import TensorSpec

EARLY_RETURN = """
/* Not a kernel: __kernel void ghost(int a) { } */
__kernel void early(__global const int* x, __global int* y, int n) {
  const int i = (int)get_global_id(0);
  if (i >= n) return;  // } a brace in a comment
  y[i] = x[i] * 3 + (int)get_group_id(0) + 1000 * (int)get_num_groups(0);
}
"""

BARRIERS = """
#define LANES 8
__kernel __attribute__((reqd_work_group_size(LANES, 1, 1)))
void sums(__global const int* x, __global int* y) {
  __local int part[LANES], total;
  __local int
      twice[(LANES + 1) * 2];
  const int lane = (int)get_local_id(0);
  part[lane] = x[get_global_id(0)];
  barrier(CLK_LOCAL_MEM_FENCE);
  if (lane == 0) {
    total = 0;
    for (int i = 0; i < LANES; ++i) total += part[i];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  twice[lane] = total + part[(lane + 1) % LANES];
  __local int* shifted = &twice[0];
  y[get_global_id(0)] = shifted[lane] + (int)get_global_size(0);
  if (lane & 1) return;
  y[get_global_id(0)] += part[LANES - 1 - lane];
}
"""

THREE_AXES = """
__kernel void axes(__global int* y) {
  const int at = (int)((get_group_id(2) * get_num_groups(1) + get_group_id(1)) * get_num_groups(0)
                       + get_group_id(0));
  const int lane = (int)(get_local_id(1) * get_local_size(0) + get_local_id(0));
  y[at * 6 + lane] = at * 100 + lane;
}
"""

STOPS_ITSELF = """
__kernel void stops(__global int* y, volatile __global uint* word, const int at) {
  y[get_group_id(0)] += 1;
  if ((int)get_group_id(0) == at) *word = 1;
}
"""

SCALE = """
__kernel void scale(__global const float* x, __global const float* w, __global float* y) {
  y[get_global_id(0)] = x[get_global_id(0)] * w[get_local_id(0)];
}
"""

SCALE_TWO = """
__kernel void scale(__global const float* x, __global const float* w, __global float* y) {
  for (int i = 0; i < 2; ++i) {
    const int at = 2 * (int)get_global_id(0) + i;
    y[at] = x[at] * w[at % 4];
  }
}
"""

WRONG_SCALE = """
__kernel void scale(__global const float* x, __global const float* w, __global float* y) {
  y[get_global_id(0)] = x[get_global_id(0)] + w[get_local_id(0)];
}
"""

WAITS = """
__kernel void waits(__global const float* x, __global float* y, __global int* seen) {
  y[get_global_id(0)] = x[get_global_id(0)] + 1.0f;
  while (atomic_add(seen, 0) == 123456789) { y[0] = 0.0f; }
}
"""


def scale_program() -> Program:
    """y = ((x * w) + 1) * w, where the second step cannot be made elastic."""
    size = 4 * 64
    return Program(
        inputs=(TensorSpec("x", "float32", (16, 4)),),
        outputs=(TensorSpec("y", "float32", (16, 4)),),
        input_values=("v0",),
        output_values=("v3",),
        sizes_bytes={"v0": size, "v1": size, "v2": size, "v3": size, "v4": 4},
        constants={"w": np.array([1, 2, 3, 4], np.float32)},
        kernels=(
            Kernel("scale", SCALE, (16, 1, 1), (4, 1, 1), 0),
            Kernel("waits", WAITS, (16, 1, 1), (4, 1, 1), 0),
        ),
        steps=(
            Step("scale", ("v0", "w", "v1")),
            Step("waits", ("v1", "v2", "v4")),
            Step("scale", ("v2", "w", "v3")),
        ),
        compiler="hand",
    )


def varied_program() -> Program:
    """The same, with variants of `scale`: right ones, a wrong one, and one that does not build."""
    sources = {
        "two": (SCALE_TWO, (16, 1, 1), (2, 1, 1)),
        "wide": (SCALE_TWO, (4, 1, 1), (8, 1, 1)),
        "wrong": (WRONG_SCALE, (16, 1, 1), (4, 1, 1)),
        "broken": (SCALE.replace("get_local_id", "get_lucky"), (16, 1, 1), (4, 1, 1)),
        "huge": (SCALE, (1, 1, 1), (64 * 1024, 1, 1)),
    }
    return scale_program()._replace(
        variants=tuple(
            Variant("scale", name, Kernel("scale", source, grid, block, 0))
            for name, (source, grid, block) in sources.items()
        )
    )
