"""A tile, and what the loop over tiles is made of, in CUDA C."""

import re

from cotenant.compiler.dialect import Dialect, Triple
from cotenant.compiler.source import Kernel

_OBJECT_POINTER = re.compile(r"^(?!.*\bvoid\b)[^()]*\*")


class Cuda(Dialect):
    """See `Dialect`."""

    unsigned = "unsigned int"
    block = "blockIdx.x"
    blocks = "gridDim.x"
    leader = "threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0"
    claim = "atomicAdd(cotenant_progress, cotenant_claim)"
    progress = "unsigned int* cotenant_progress"
    pause = "const volatile unsigned int* cotenant_pause"
    claimed = "__shared__ unsigned int cotenant_claimed;"
    triple = "make_uint3"
    barrier = "__syncthreads();"
    fresh = (
        "unsigned int cotenant_zero;\n"
        '    asm volatile("mov.u32 %0, 0;" : "=r"(cotenant_zero));\n    '
    )
    """A zero that the compiler does not know, anew for each tile.

    Added to the pointers it keeps what all tiles read from being held in registers between
    tiles, which has cost a kernel four times its registers, and so the blocks beside it.
    """

    def arguments(self, kernel: Kernel) -> tuple[str, ...]:
        return tuple(
            f"{name} + cotenant_zero" if _OBJECT_POINTER.search(declared) else name
            for name, declared in zip(kernel.arguments, kernel.parameters, strict=True)
        )

    def between(self, kernel: Kernel, grid: Triple | None) -> str:
        """Nothing, where they have nothing in common.

        Warps then go on with the next tile while others wait for memory. Shared memory of a kernel
        with a known grid, which the compiler made, stands in its body; one written by hand may call
        a function that has some.
        """
        return self.barrier if grid is None or "__shared__" in kernel.plain_body else ""

    def tile(self, kernel: Kernel) -> str:
        parameters = ", ".join((*kernel.parameters, "uint3 cotenant_block", "uint3 cotenant_grid"))
        return (
            "#define blockIdx cotenant_block\n"
            "#define gridDim cotenant_grid\n"
            f"static __device__ __forceinline__ void {kernel.name}_tile({parameters}) {{"
            f"{kernel.body}}}\n"
            "#undef blockIdx\n"
            "#undef gridDim\n"
        )
