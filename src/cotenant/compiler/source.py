"""The text of a CUDA C or OpenCL C file goes in; its kernels, cut into their parts, come out.

This is no parser. It looks at tokens and brackets, in a copy of the text where comments,
literals and preprocessor lines are blank, so that positions agree with the text itself.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from cotenant.core.errors import ModelError


class Language(StrEnum):
    """What a kernel is written in; the value is the suffix of its files."""

    CUDA = "cu"
    OPENCL = "cl"


class Kernel(NamedTuple):
    """One kernel's definition."""

    name: str
    head: str
    """All that stands before the parameters, less the name: qualifiers and attributes."""
    parameters: tuple[str, ...]
    """As they were declared."""
    body: str
    """What stands between the outermost braces."""
    plain_body: str
    """The same with comments, literals and preprocessor lines blank."""
    start: int
    end: int
    template: bool

    @property
    def arguments(self) -> tuple[str, ...]:
        """The parameters' names."""
        return tuple(_declared_name(parameter) for parameter in self.parameters)


_HIDDEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
    r"|^[ \t]*\#(?:\\\n|[^\n])*",
    re.DOTALL | re.MULTILINE,
)
_START = {
    Language.CUDA: re.compile(r"(?:\bextern\s+|\bstatic\s+|\binline\s+)*\b__global__\b"),
    Language.OPENCL: re.compile(r"\b(?:__kernel|kernel)\b"),
}
_ATTRIBUTES = frozenset(
    {"__attribute__", "__launch_bounds__", "__cluster_dims__", "__maxnreg__", "__block_size__"}
)
_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_CLOSING = {"(": ")", "{": "}", "[": "]"}


def blank(text: str) -> str:
    """The text with comments, literals and preprocessor lines replaced by spaces.

    >>> blank('a; // b')
    'a;     '
    """
    return _HIDDEN.sub(lambda hidden: re.sub(r"[^\n]", " ", hidden[0]), text)


def find_kernels(text: str, language: Language) -> tuple[Kernel, ...]:
    """Every kernel that the text defines, in order.

    Raises:
        ModelError: brackets do not match.
    """
    return tuple(_kernels(text, blank(text), language))


def closing(plain: str, opening: int) -> int:
    """Position of the bracket that closes the one at `opening`.

    >>> closing("f(a, (b))", 1)
    8
    """
    open_, close = plain[opening], _CLOSING[plain[opening]]
    depth = 0
    for position in range(opening, len(plain)):
        if plain[position] == open_:
            depth += 1
        elif plain[position] == close:
            depth -= 1
            if depth == 0:
                return position
    line = plain.count("\n", 0, opening) + 1
    raise ModelError(
        f"the {open_!r} in line {line} of the kernel source is never closed; complete the file"
    )


def split_list(text: str) -> tuple[str, ...]:
    """A list at its commas, but not at those in brackets.

    >>> split_list("int a, float b[f(1, 2)]")
    ('int a', 'float b[f(1, 2)]')
    """
    parts, depth, since = [], 0, 0
    for position, character in enumerate(text):
        if character in "([{<":
            depth += 1
        elif character in ")]}>":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[since:position].strip())
            since = position + 1
    parts.append(text[since:].strip())
    return tuple(part for part in parts if part and part != "void")


def _kernels(text: str, plain: str, language: Language) -> Iterator[Kernel]:
    for found in _START[language].finditer(plain):
        for call in _CALL.finditer(plain, found.end()):
            after = closing(plain, call.end() - 1) + 1
            if call[1] not in _ATTRIBUTES and not _nested(plain, found.end(), call.start()):
                break
        else:
            continue
        brace = re.compile(r"\s*\{").match(plain, after)
        if brace is None:
            continue  # a prototype
        opening = brace.end() - 1
        end = closing(plain, opening) + 1
        yield Kernel(
            name=call[1],
            head=text[found.start() : call.start()].strip(),
            parameters=split_list(" ".join(plain[call.end() : after - 1].split())),
            body=text[opening + 1 : end - 1],
            plain_body=plain[opening + 1 : end - 1],
            start=found.start(),
            end=end,
            template=plain[: found.start()].rstrip().endswith(">"),
        )


def _nested(plain: str, start: int, end: int) -> bool:
    """Whether `end` lies inside brackets that were opened after `start`."""
    between = plain[start:end]
    return between.count("(") != between.count(")")


def _declared_name(declaration: str) -> str:
    names: list[str] = re.findall(r"[A-Za-z_]\w*", re.sub(r"\[[^\]]*\]", "", declaration))
    return names[-1]
