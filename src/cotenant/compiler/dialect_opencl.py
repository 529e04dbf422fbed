"""A tile, and what the loop over tiles is made of, in OpenCL C.

OpenCL C 1.2 wants shared arrays at the outermost scope of a kernel, so there they move into a
structure whose address the body is given.

Where threads of a block never meet within a tile, the block keeps its place in the loop over tiles
in local memory, and all its threads write the same into it. A processor's compiler makes vectors of
them, between barriers. Of a private variable that lives across barriers it makes one for each
thread; that all are equal, or that they count up, is lost, and element-wise kernels take up to ten
times as long. Where threads do meet there are none to lose, and PoCL 3.0 fails on that loop.
"""

import re

from cotenant.compiler.dialect import Dialect, Triple
from cotenant.compiler.source import Kernel, split_list


class OpenCl(Dialect):
    """See `Dialect`."""

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
        given = any(re.search(r"\b(?:__local|local)\b", one) for one in kernel.parameters)
        return given or "barrier" in kernel.plain_body or bool(self._locals(kernel))

    def _locals(self, kernel: Kernel) -> list[re.Match[str]]:
        """Declarations of shared variables; a pointer into shared memory is none."""
        return [
            one
            for one in self._LOCAL.finditer(kernel.plain_body)
            if "*" not in re.sub(r"\[[^\]]*\]", "", one[2])
        ]


def _declared(declaration: str) -> list[str]:
    """Names in a declaration of several variables: 'float a[8], b' has a and b."""
    return [
        re.findall(r"[A-Za-z_]\w*", re.sub(r"\[[^\]]*\]", "", one))[-1]
        for one in split_list(declaration)
    ]
