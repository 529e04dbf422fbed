"""A kernel's source goes in; the same with two elastic forms of it comes out, for CUDA and OpenCL.

The original kernel K stays as it is. Its body becomes a function of its arguments, one
*logical* block and the *logical* grid, and two kernels call it for one tile after another:

    K_static      each of the physical blocks takes every width-th tile of [begin, end)
    K_preemptive  blocks claim `claim` tiles at a time from `progress` until it reaches `end`, or
                  until the host sets `pause`; a claimed tile is always finished, so that every
                  tile below `progress` is done when the launch has ended, and launching again
                  resumes

Both are launched on one axis: the number of blocks is the width. `progress` may end above
`end`, by at most one claim for each block.

A thread that returns from the body only leaves the function: it meets the others at the
barrier between tiles. OpenCL C 1.2 wants shared arrays at the outermost scope of a kernel, so
there they move into a structure whose address the body is given.

In OpenCL C, where threads of a block never meet within a tile, it keeps its place in the loop over
tiles in local memory, and all its threads write the same into it. A processor's compiler makes
vectors of them, between barriers. Of a private variable that lives across barriers it makes one for
each thread; that all are equal, or that they count up, is lost, and element-wise kernels take up to
ten times as long.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from cotenant.compiler.obstacles import obstacle
from cotenant.compiler.source import Kernel, Language, find_kernels, split_list

STATIC_SUFFIX = "_static"
PREEMPTIVE_SUFFIX = "_preemptive"


Triple = tuple[int, int, int]


class Rung(StrEnum):
    """How far a kernel can be held back."""

    PREEMPTIVE = "preemptive"
    """It shrinks, and it pauses between tiles."""
    UNMODIFIED = "unmodified"
    """It runs as it is, from its first block to its last."""


class Elastic(NamedTuple):
    """What became of one kernel."""

    kernel: str
    rung: Rung
    reason: str | None
    """Why it was left as it is."""


class ElasticSource(NamedTuple):
    """A source text with elastic forms added, and what became of each of its kernels."""

    text: str
    kernels: tuple[Elastic, ...]


def make_elastic(
    text: str, language: Language, grids: Mapping[str, Triple] = MappingProxyType({})
) -> ElasticSource:
    """Add the two elastic forms of every kernel that can have them.

    Args:
        grids: logical blocks along each axis, of kernels that are always launched with so many.
            Theirs are written into the forms, and a tile's place on an only axis is its number:
            three divisions less for each thread, which a brief kernel feels.

    Raises:
        ModelError: brackets do not match.
    """
    parts, outcome = [text.rstrip() + "\n"], []
    for kernel in find_kernels(text, language):
        reason = obstacle(text, kernel, language)
        if reason is None:
            dialect = _DIALECTS[language]
            grid = grids.get(kernel.name)
            parts.append(dialect.tile(kernel))
            parts += [made(kernel, dialect, grid) for made in (_static, _preemptive)]
        rung = Rung.PREEMPTIVE if reason is None else Rung.UNMODIFIED
        outcome.append(Elastic(kernel.name, rung, reason))
    return ElasticSource("\n".join(parts), tuple(outcome))


_OBJECT_POINTER = re.compile(r"^(?!.*\bvoid\b)[^()]*\*")


class _Dialect(ABC):
    """What the two forms are made of in one language."""

    unsigned: str
    triple: str
    progress: str
    pause: str
    block: str
    blocks: str
    leader: str
    claim: str
    claimed: str
    barrier: str
    fresh = ""

    @abstractmethod
    def tile(self, kernel: Kernel) -> str:
        """The function that computes one tile."""

    @abstractmethod
    def arguments(self, kernel: Kernel) -> tuple[str, ...]:
        """What it is called with, but for its block and the grid."""

    @abstractmethod
    def between(self, kernel: Kernel, grid: Triple | None) -> str:
        """What stands between two tiles of a block."""

    def static(self, kernel: Kernel, grid: Triple | None, call: str) -> str:
        """Body of the static form; `call` computes tile `cotenant_tile`."""
        unsigned = self.unsigned
        return f"""for ({unsigned} cotenant_tile = cotenant_begin + {self.block};
       cotenant_tile < cotenant_end; cotenant_tile += {self.blocks}) {{
    {self.fresh}{call}
    {self.between(kernel, grid)}
  }}"""

    def preemptive(self, kernel: Kernel, grid: Triple | None, call: str) -> str:
        """Body of the preemptive form."""
        unsigned = self.unsigned
        # The second barrier keeps the leader from claiming anew before all have read the first.
        return f"""{self.claimed}
  for (;;) {{
    if ({self.leader}) {{
      cotenant_claimed = *cotenant_pause ? 0xffffffffu : {self.claim};
    }}
    {self.barrier}
    const {unsigned} cotenant_first = cotenant_claimed;
    {self.barrier}
    if (cotenant_first >= cotenant_end) {{
      break;
    }}
    const {unsigned} cotenant_last = cotenant_end - cotenant_first < cotenant_claim
        ? cotenant_end : cotenant_first + cotenant_claim;
    for ({unsigned} cotenant_tile = cotenant_first; cotenant_tile < cotenant_last;
         ++cotenant_tile) {{
      {self.fresh}{call}
      {self.between(kernel, grid)}
    }}
  }}"""


class _Cuda(_Dialect):
    """CUDA C."""

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


class _OpenCl(_Dialect):
    """OpenCL C."""

    unsigned = "uint"
    block = "(uint)get_group_id(0)"
    blocks = "(uint)get_num_groups(0)"
    leader = "get_local_id(0) == 0 && get_local_id(1) == 0 && get_local_id(2) == 0"
    claim = "atomic_add(cotenant_progress, cotenant_claim)"
    progress = "volatile __global uint* cotenant_progress"
    pause = "const volatile __global uint* cotenant_pause"
    claimed = "__local uint cotenant_claimed;"
    triple = "(uint3)"
    barrier = "barrier(CLK_LOCAL_MEM_FENCE);"

    def between(self, kernel: Kernel, grid: Triple | None) -> str:
        """A barrier: without one a processor takes all tiles for one thread after the other."""
        return self.barrier

    def arguments(self, kernel: Kernel) -> tuple[str, ...]:
        shared = ("&cotenant_shared",) if self._locals(kernel) else ()
        zero = () if self._meet(kernel) else ("cotenant_zero",)
        return (*kernel.arguments, *shared, *zero)

    def static(self, kernel: Kernel, grid: Triple | None, call: str) -> str:
        if self._meet(kernel):
            return self._shared(kernel) + super().static(kernel, grid, call)
        # A block for each tile needs no loop, and its threads' numbers are what they are.
        return f"""{self._place}
  if ({self.blocks} == cotenant_end - cotenant_begin) {{
    const uint cotenant_tile = cotenant_begin + {self.block};
    const size_t cotenant_zero = 0;
    {call}
  }} else {{
    cotenant_tile = cotenant_begin + {self.block};
    {self._start}
    for (;;) {{
      {self.barrier}
      if (cotenant_tile >= cotenant_end) {{
        break;
      }}
      {self.barrier}
      {call}
      {self._step(self.blocks)}
    }}
  }}"""

    def preemptive(self, kernel: Kernel, grid: Triple | None, call: str) -> str:
        if self._meet(kernel):
            return self._shared(kernel) + super().preemptive(kernel, grid, call)
        return f"""{self._place}
  __local uint cotenant_last;
  {self._start}
  for (;;) {{
    if ({self.leader}) {{
      cotenant_tile = *cotenant_pause ? 0xffffffffu : {self.claim};
      cotenant_last = cotenant_end - cotenant_tile < cotenant_claim
          ? cotenant_end : cotenant_tile + cotenant_claim;
    }}
    {self.barrier}
    if (cotenant_tile >= cotenant_end) {{
      break;
    }}
    for (;;) {{
      {self.barrier}
      {call}
      {self._step("1u")}
      if (cotenant_tile >= cotenant_last) {{
        break;
      }}
    }}
    {self.barrier}
  }}"""

    _place = """__local uint cotenant_tile;
  __local uint cotenant_next;
  __local size_t cotenant_zero;"""
    _start = f"if ({leader}) cotenant_zero = cotenant_end >> 31;"
    """A zero that the compiler does not know.

    Read anew for each tile and added to a thread's number, it keeps what follows from the number
    from being held between tiles: that would be such a private variable. As wide as the number,
    and written by one thread, so that neither its smallness nor its value is seen.
    """

    def _step(self, tiles: str) -> str:
        """To a later tile; what all read is written when all have read it."""
        return f"""{self.barrier}
    cotenant_next = cotenant_tile + {tiles};
    {self.barrier}
    cotenant_tile = cotenant_next;"""

    _BUILTINS = (
        ("get_group_id(d)", "((size_t)cotenant_axis(cotenant_block, (d), 0u))"),
        ("get_num_groups(d)", "((size_t)cotenant_axis(cotenant_grid, (d), 1u))"),
        ("get_global_id(d)", "(get_group_id(d) * get_local_size(d) + get_local_id(d))"),
        ("get_global_size(d)", "(get_num_groups(d) * get_local_size(d))"),
        ("get_global_offset(d)", "((size_t)0)"),
    )
    _AXIS = (
        "#ifndef cotenant_axis\n"
        "#define cotenant_axis(v, d, other) "
        "((d) == 0 ? (v).x : (d) == 1 ? (v).y : (d) == 2 ? (v).z : (other))\n"
        "#endif\n"
    )
    _LOCAL = re.compile(
        r"(?:(?<=[;{}])|\A)\s*((?:volatile\s+|const\s+)*)\b(?:__local|local)\b([^;]*);"
    )

    def _shared(self, kernel: Kernel) -> str:
        """Declaration of the shared structure in a kernel."""
        if not self._locals(kernel):
            return ""
        return f"__local struct {kernel.name}_shared cotenant_shared;\n  "

    def tile(self, kernel: Kernel) -> str:
        found = self._locals(kernel)
        body, names, members = kernel.body, list[str](), list[str]()
        for one in reversed(found):
            body = body[: one.start(1)] + body[one.end() :]
        for one in found:
            names += _declared(one[2])
            members.append(f"{one[1]}{one[2].strip()};")
        parameters = list(kernel.parameters)
        structure = ""
        if found:
            structure = f"struct {kernel.name}_shared {{\n  " + "\n  ".join(members) + "\n};\n"
            parameters.append(f"__local struct {kernel.name}_shared* cotenant_shared")
        macros = list(self._BUILTINS)
        if not self._meet(kernel):
            parameters.append("size_t cotenant_zero")
            macros.append(("get_local_id(d)", "(get_local_id(d) + cotenant_zero)"))
        parameters += ["uint3 cotenant_block", "uint3 cotenant_grid"]
        macros += [(name, f"(cotenant_shared->{name})") for name in names]
        return (
            f"{self._AXIS}{structure}"
            + "".join(f"#define {name} {meaning}\n" for name, meaning in macros)
            + f"static inline void {kernel.name}_tile({', '.join(parameters)}) {{{body}}}\n"
            + "".join(f"#undef {name.partition('(')[0]}\n" for name, _ in macros)
        )

    def _meet(self, kernel: Kernel) -> bool:
        """Whether threads of a block have something to do with each other within a tile."""
        return "barrier" in kernel.plain_body or bool(self._locals(kernel))

    def _locals(self, kernel: Kernel) -> list[re.Match[str]]:
        """Declarations of shared variables; a pointer into shared memory is none."""
        return [
            one
            for one in self._LOCAL.finditer(kernel.plain_body)
            if "*" not in re.sub(r"\[[^\]]*\]", "", one[2])
        ]


_DIALECTS: dict[Language, _Dialect] = {Language.CUDA: _Cuda(), Language.OPENCL: _OpenCl()}


def _declared(declaration: str) -> list[str]:
    """Names in a declaration of several variables: 'float a[8], b' has a and b."""
    return [
        re.findall(r"[A-Za-z_]\w*", re.sub(r"\[[^\]]*\]", "", one))[-1]
        for one in split_list(declaration)
    ]


def _signature(kernel: Kernel, dialect: _Dialect, suffix: str, extra: tuple[str, ...]) -> str:
    sizes = tuple(f"{dialect.unsigned} cotenant_{axis}" for axis in "xyz")
    parameters = ", ".join((*kernel.parameters, *extra, *sizes))
    return f"{kernel.head} {kernel.name}{suffix}({parameters})"


def _call(kernel: Kernel, dialect: _Dialect, known: Triple | None) -> str:
    x, y, z = ("cotenant_x", "cotenant_y", "cotenant_z") if known is None else map(_unsigned, known)
    tile = "cotenant_tile"
    place = (f"{tile} % {x}", f"{tile} / {x} % {y}", f"{tile} / {x} / {y}")
    if known is not None and known[1:] == (1, 1):
        place = (tile, "0u", "0u")
    block, grid = (f"{dialect.triple}({', '.join(three)})" for three in (place, (x, y, z)))
    arguments = ", ".join((*dialect.arguments(kernel), block, grid))
    return f"{kernel.name}_tile({arguments});"


def _unsigned(number: int) -> str:
    return f"{number}u"


def _static(kernel: Kernel, dialect: _Dialect, grid: Triple | None) -> str:
    ends = tuple(f"{dialect.unsigned} cotenant_{end}" for end in ("begin", "end"))
    body = dialect.static(kernel, grid, _call(kernel, dialect, grid))
    return f"{_signature(kernel, dialect, STATIC_SUFFIX, ends)} {{\n  {body}\n}}\n"


def _preemptive(kernel: Kernel, dialect: _Dialect, grid: Triple | None) -> str:
    counts = tuple(f"{dialect.unsigned} cotenant_{count}" for count in ("end", "claim"))
    extra = (dialect.progress, dialect.pause, *counts)
    body = dialect.preemptive(kernel, grid, _call(kernel, dialect, grid))
    return f"{_signature(kernel, dialect, PREEMPTIVE_SUFFIX, extra)} {{\n  {body}\n}}\n"
