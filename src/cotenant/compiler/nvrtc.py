"""CUDA C goes in; PTX, and what each kernel needs of a multiprocessor, come out. No GPU is needed.

NVRTC also assembles for the architecture. That is an ELF file; registers stand in its list of
attributes, and shared memory is the length of a section, with what the architecture reserves.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from cotenant.device.cuda.nvrtc import compiled

_SHARED = ".nv.shared."
_SIZED, _REGISTER_COUNT = 0x04, 0x2F


class Resources(NamedTuple):
    """What one form of a kernel needs."""

    registers: int
    """Of each thread."""
    shared_bytes: int
    """Of each block, without what a launch asks for."""


class Assembled(NamedTuple):
    """A source text, compiled."""

    ptx: bytes
    resources: dict[str, Resources]
    """By the name of the kernel or its form."""


def assemble(source: str, name: str, architecture: str) -> Assembled:
    """Compile for an architecture such as 'sm_87'.

    Raises:
        Unsupported: NVRTC is not installed.
        ModelError: the source does not compile; the compiler's log is in the message.
    """
    made = compiled(source, name, architecture)
    return Assembled(made.ptx, _resources(made.cubin))


class _Section(NamedTuple):
    name: str
    offset: int
    length: int
    link: int


def _resources(elf: bytes) -> dict[str, Resources]:
    """Read the sections of a 64-bit little-endian ELF file."""
    sections = _sections(elf)
    named = {section.name: section for section in sections}
    symbols = named[".symtab"]
    strings = sections[symbols.link]
    shared = {
        section.name.removeprefix(_SHARED): section.length
        for section in sections
        if section.name.startswith(_SHARED)
    }
    found = {}
    for symbol, registers in _register_counts(elf, named[".nv.info"]):
        name_at, *_ = struct.unpack_from("<I", elf, symbols.offset + 24 * symbol)
        name = _string(elf, strings.offset + name_at)
        found[name] = Resources(registers, shared.get(name, 0))
    return found


def _sections(elf: bytes) -> list[_Section]:
    table, *_ = struct.unpack_from("<Q", elf, 40)
    size, count, names_at = struct.unpack_from("<HHH", elf, 58)
    rows = [struct.unpack_from("<IIQQQQII", elf, table + size * n) for n in range(count)]
    names = rows[names_at][4]
    return [_Section(_string(elf, names + row[0]), row[4], row[5], row[6]) for row in rows]


def _register_counts(elf: bytes, about: _Section) -> Iterator[tuple[int, int]]:
    """Symbol and registers of each kernel, from the list of attributes."""
    position, end = about.offset, about.offset + about.length
    while position < end:
        form, attribute, size = struct.unpack_from("<BBH", elf, position)
        position += 4
        if form != _SIZED:
            continue  # the value is in the place of the size
        if attribute == _REGISTER_COUNT:
            symbol, registers = struct.unpack_from("<II", elf, position)
            yield symbol, registers
        position += size


def _string(elf: bytes, start: int) -> str:
    return elf[start : elf.index(b"\0", start)].decode()
