"""An architecture and what a schedule needs go in; how much of a multiprocessor it fills comes out.

Blocks are resident on a multiprocessor until one of four things is used up (CUDA C Programming
Guide, "Compute Capabilities", and NVIDIA's occupancy calculator):

    blocks = min(B, W / w, 4 floor(R / (4 r)) / w, M / m)      each division rounded down
    occupancy = blocks threads / L

with at most B blocks, W = L / 32 warps, R registers and M bytes of shared memory on it; a
block of w = ceil(threads / 32) warps asks for m bytes, and each of its warps for
r = 256 ceil(32 registers / 256) registers. Warps get registers in groups of four.
"""

from collections.abc import Mapping
from typing import NamedTuple

WARP = 32
_REGISTERS_GIVEN, _WARPS_GIVEN = 256, 4


class Limits(NamedTuple):
    """What a device has."""

    units: int
    """Multiprocessors."""
    unit_threads: int
    unit_blocks: int
    unit_registers: int | None
    """`None`: not known, so never the limit."""
    unit_shared_bytes: int
    block_threads: int
    block_shared_bytes: int


class Need(NamedTuple):
    """What a kernel needs."""

    blocks: int
    """Of the whole grid."""
    threads: int
    """Of one block."""
    shared_bytes: int
    """Of one block, with what the architecture keeps to itself."""
    registers: int | None
    """Of one thread; `None` until a compiler has said it."""


def _nvidia(units: int, threads: int, blocks: int, shared_kib: int, block_kib: int) -> Limits:
    return Limits(units, threads, blocks, 1 << 16, shared_kib << 10, 1024, block_kib << 10)


_KNOWN: Mapping[str, Limits] = {
    "sm_53": _nvidia(1, 2048, 32, 64, 48),
    "sm_61": _nvidia(20, 2048, 32, 96, 48),
    "sm_62": _nvidia(2, 2048, 32, 64, 48),
    "sm_70": _nvidia(80, 2048, 32, 96, 96),
    "sm_72": _nvidia(8, 2048, 32, 96, 96),
    "sm_75": _nvidia(30, 1024, 16, 64, 64),
    "sm_80": _nvidia(108, 2048, 32, 164, 163),
    "sm_86": _nvidia(28, 1536, 16, 100, 99),
    "sm_87": _nvidia(16, 1536, 16, 164, 163),
    "sm_89": _nvidia(58, 1536, 24, 100, 99),
    "sm_90": _nvidia(132, 2048, 32, 228, 227),
}
"""The number of multiprocessors differs within an architecture; this is a common one of each."""

_OTHER_NVIDIA = _nvidia(16, 1024, 16, 64, 48)
_OPENCL = Limits(8, 1024, 16, None, 32 << 10, 256, 32 << 10)
"""What every OpenCL 1.2 device of the full profile has at least, as far as it says so."""


def limits_of(architecture: str | None) -> Limits:
    """Of an architecture of NVIDIA's, or of any OpenCL device; the least there is if unknown.

    >>> limits_of("sm_87").unit_threads, limits_of(None).block_threads
    (1536, 256)
    """
    return _OPENCL if architecture is None else _KNOWN.get(architecture, _OTHER_NVIDIA)


def resident_blocks(need: Need, limits: Limits) -> int:
    """Blocks of a kernel that one multiprocessor holds at a time; 0: it cannot be launched.

    >>> resident_blocks(Need(100, 128, 0, registers=64), limits_of("sm_87"))
    8
    """
    if need.threads > limits.block_threads or need.shared_bytes > limits.block_shared_bytes:
        return 0
    warps = -(-need.threads // WARP)
    found = [limits.unit_blocks, limits.unit_threads // WARP // warps]
    if limits.unit_registers is not None and need.registers:
        each = -(-need.registers * WARP // _REGISTERS_GIVEN) * _REGISTERS_GIVEN
        found.append(limits.unit_registers // (_WARPS_GIVEN * each) * _WARPS_GIVEN // warps)
    if need.shared_bytes:
        found.append(limits.unit_shared_bytes // need.shared_bytes)
    return min(found)


def occupancy(need: Need, limits: Limits) -> float:
    """Part of a multiprocessor's threads that the kernel can fill.

    >>> round(occupancy(Need(100, 128, 0, registers=64), limits_of("sm_87")), 3)
    0.667
    """
    return resident_blocks(need, limits) * need.threads / limits.unit_threads
