"""The programs of `tests/device/elastic` in CUDA C, and bundles of them with PTX in name only.

The fake device reads the names and parameters of entries, as they stand in real PTX, and nothing
else of it, so that no compiler is needed.
"""

import re
from pathlib import Path

from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.nvrtc import Assembled
from cotenant.compiler.program import Program, parse_target
from cotenant.compiler.source import Language, find_kernels
from cotenant.device.cuda.nvrtc import Compiled

_WORDS = (
    ("volatile __global uint*", "volatile unsigned int*"),
    ("__kernel void", 'extern "C" __global__ void'),
    ("__global ", ""),
    ("atomic_add(", "atomicAdd("),
    ("get_global_id(0)", "(blockIdx.x * blockDim.x + threadIdx.x)"),
    ("get_group_id(0)", "blockIdx.x"),
    ("get_local_id(0)", "threadIdx.x"),
)


def in_cuda(program: Program) -> Program:
    """The same with kernels in CUDA C."""
    return program._replace(
        kernels=tuple(one._replace(source=_translated(one.source)) for one in program.kernels),
        variants=tuple(
            one._replace(kernel=one.kernel._replace(source=_translated(one.kernel.source)))
            for one in program.variants
        ),
    )


def bundled(program: Program, folder: Path, name: str, *, sm: int = 80, ptx: bool = True) -> Path:
    def assemble(source: str, name: str) -> Assembled:
        return Assembled(stub_ptx(source, sm), {})

    target = parse_target(f"cuda:sm_{sm}")
    write_bundle(in_cuda(program), name, target, folder / name, assemble if ptx else None)
    return folder / name


def stub_ptx(source: str, sm: int = 80) -> bytes:
    """Entries with the parameters of the source's kernels."""
    entries = [
        f".visible .entry {kernel.name}(\n"
        + ",\n".join(
            f"\t.param .u{64 if '*' in declared else 32} {kernel.name}_param_{number}"
            for number, declared in enumerate(kernel.parameters)
        )
        + "\n)\n{ ret; }\n"
        for kernel in find_kernels(source, Language.CUDA)
    ]
    head = f".version 8.0\n.target sm_{sm}\n.address_size 64\n"
    return (head + "\n".join(entries)).encode()


def stub_compiled(source: str, name: str, architecture: str) -> Compiled:
    """Stands for NVRTC."""
    ptx = stub_ptx(source, int(architecture.removeprefix("sm_")))
    return Compiled(ptx, ptx)


def _translated(source: str) -> str:
    for old, new in _WORDS:
        source = source.replace(old, new)
    return re.sub(r"\b(?<!unsigned )uint\b", "unsigned int", source)
