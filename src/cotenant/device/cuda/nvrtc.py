"""CUDA C goes in; PTX and machine code for one architecture come out. No GPU is needed.

Both the compiler and a device use this: the one to make a bundle, the other for a bundle whose
PTX is missing, or newer than its driver.
"""

import ctypes
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cotenant.core.errors import ModelError, Unsupported

# TVM's sources include these two of libcu++; the few names they use of it are plain C++.
_HEADERS = {
    b"cuda/std/cstdint": b"""
namespace cuda { namespace std {
typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long long int64_t;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
} }
""",
    b"cuda/std/type_traits": b"""
namespace cuda { namespace std {
template <class A, class B> struct is_same { static constexpr bool value = false; };
template <class A> struct is_same<A, A> { static constexpr bool value = true; };
template <class A, class B> constexpr bool is_same_v = is_same<A, B>::value;
template <class A> struct is_integral;
template <class A> struct is_signed;
template <class A> struct is_unsigned;
template <class A> struct is_floating_point;
template <bool, class A = void> struct enable_if {};
template <class A> struct enable_if<true, A> { typedef A type; };
template <bool, class A, class B> struct conditional { typedef A type; };
template <class A, class B> struct conditional<false, A, B> { typedef B type; };
} }
""",
}


class Compiled(NamedTuple):
    """A source text, compiled."""

    ptx: bytes
    cubin: bytes
    """An ELF file."""


def options(architecture: str) -> tuple[str, ...]:
    """What the compiler is told beside the source."""
    return f"--gpu-architecture={architecture}", "-w"


def version(architecture: str) -> str:
    """Of the compiler for an architecture.

    Raises:
        Unsupported: there is none.
    """
    major, minor = _number(_library(architecture))
    return f"nvrtc {major}.{minor}"


def compiled(source: str, name: str, architecture: str) -> Compiled:
    """Compile for an architecture such as 'sm_87'.

    Raises:
        Unsupported: NVRTC is not installed, or too old for the architecture.
        ModelError: the source does not compile; the compiler's log is in the message.
    """
    library = _library(architecture)
    program = ctypes.c_void_p()
    count = len(_HEADERS)
    texts, names = (ctypes.c_char_p * count)(), (ctypes.c_char_p * count)()
    for number, (header, text) in enumerate(_HEADERS.items()):
        names[number], texts[number] = header, text
    library.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), f"{name}.cu".encode(), count, texts, names
    )
    try:
        told = [option.encode() for option in options(architecture)]
        failed = library.nvrtcCompileProgram(
            program, len(told), (ctypes.c_char_p * len(told))(*told)
        )
        if failed:
            log = _text(library, "ProgramLog", program).rstrip(b"\0").decode(errors="replace")
            raise ModelError(
                f"kernel {name!r} does not compile for {architecture}; the compiler says: "
                f"{log.strip()[:2000] or f'error {failed}'}"
            )
        ptx = _text(library, "PTX", program).rstrip(b"\0")
        return Compiled(ptx, _text(library, "CUBIN", program))
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def available() -> bool:
    """Whether NVRTC is installed."""
    return bool(_paths())


def _paths() -> tuple[Path, ...]:
    """NVIDIA's packages for different versions of CUDA may be there at the same time."""
    spec = importlib.util.find_spec("nvidia")
    folders = (spec and spec.submodule_search_locations) or ()
    return tuple(path for one in folders for path in Path(one).glob("*/lib/libnvrtc.so.*"))


def _library(architecture: str) -> ctypes.CDLL:
    """The oldest for the architecture: a driver refuses PTX of a compiler newer than itself."""
    libraries = sorted(map(_loaded, _paths()), key=_number)
    if not libraries:
        raise Unsupported(
            "PTX needs NVRTC, which is not installed; run: pip install 'cotenant[ptx]'"
        )
    for library in libraries:
        if int(re.sub(r"\D", "", architecture)) in _architectures(library):
            return library
    newest = ".".join(map(str, _number(libraries[-1])))
    raise Unsupported(
        f"NVRTC {newest} does not compile for {architecture}; a newer one may: "
        "pip install nvidia-cuda-nvrtc"
    )


@cache
def _loaded(path: Path) -> ctypes.CDLL:
    # Some ask the loader for their builtins by name, and it does not look in a package.
    for builtins in path.parent.glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(builtins), ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(path))


@cache
def _number(library: ctypes.CDLL) -> tuple[int, int]:
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


@cache
def _architectures(library: ctypes.CDLL) -> frozenset[int]:
    count = ctypes.c_int()
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    found = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(found)
    return frozenset(found)


def _text(library: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    """A result of NVRTC: ask for its size, then for itself."""
    size = ctypes.c_size_t()
    library[f"nvrtcGet{what}Size"](program, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    library[f"nvrtcGet{what}"](program, content)
    return content.raw
