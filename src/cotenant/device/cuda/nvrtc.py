"""CUDA C goes in; PTX and machine code for one architecture come out. No GPU is needed.

Both the compiler and a device use this: the one to make a bundle, the other for a bundle whose
PTX is missing, or newer than its driver.
"""

import ctypes
import importlib.util
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


def version() -> str:
    """Of the compiler.

    Raises:
        Unsupported: NVRTC is not installed.
    """
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"nvrtc {major.value}.{minor.value}"


def compiled(source: str, name: str, architecture: str) -> Compiled:
    """Compile for an architecture such as 'sm_87'.

    Raises:
        Unsupported: NVRTC is not installed.
        ModelError: the source does not compile; the compiler's log is in the message.
    """
    library = _library()
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
    return _library_path() is not None


def _library_path() -> Path | None:
    spec = importlib.util.find_spec("nvidia")
    folders = (spec and spec.submodule_search_locations) or ()
    found = [path for folder in folders for path in Path(folder).glob("*/lib/libnvrtc.so.*")]
    return max(found, default=None)


@cache
def _library() -> ctypes.CDLL:
    path = _library_path()
    if path is None:
        raise Unsupported(
            "PTX needs NVRTC, which is not installed; run: pip install 'cotenant[ptx]'"
        )
    # Older ones ask the loader for their builtins by name, and it does not look in a package.
    for builtins in path.parent.glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(builtins), ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(path))


def _text(library: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    """A result of NVRTC: ask for its size, then for itself."""
    size = ctypes.c_size_t()
    library[f"nvrtcGet{what}Size"](program, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    library[f"nvrtcGet{what}"](program, content)
    return content.raw
