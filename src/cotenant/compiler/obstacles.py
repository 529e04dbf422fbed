"""A kernel goes in; the reason why its blocks cannot be run one after another comes out.

A kernel can be made elastic if its blocks do not wait for each other, since a block that
waits might wait for one that has not been started. What is looked for are the ways in which
kernels do wait; when in doubt, a kernel is left as it is, and the bundle says why.
"""

import re
from collections.abc import Iterator

from cotenant.compiler.source import Kernel, Language, blank, closing, find_kernels

_BARRIER = re.compile(r"\b(?:__syncthreads\w*|work_group_barrier|barrier)\s*\(|\.sync\s*\(")
_GRID = re.compile(
    r"\b(?:this_grid|grid_group|this_multi_grid|this_cluster|cluster_group|clusterIdx|clusterDim)\b"
)
_ASSEMBLY = re.compile(r"%n?ctaid|%n?clusterid|barrier\.cluster|%gridid")
_LOOP = re.compile(r"\b(for|while)\s*\(|\bdo\b\s*\{")
_SHARED_READ = re.compile(r"\batomic|\bvolatile\b|\bld_acquire|\b__ldcv\b|\b__nanosleep\b")
_BLOCK_INDEX = {
    Language.CUDA: re.compile(r"\b(?:blockIdx|gridDim)\b"),
    Language.OPENCL: re.compile(
        r"\bget_(?:group_id|num_groups|global_id|global_size|global_offset|global_linear_id)\b"
    ),
}


def obstacle(text: str, kernel: Kernel, language: Language) -> str | None:
    """Why the kernel of this source text must stay as it is; `None` if it need not."""
    body, outside = kernel.plain_body, _outside(text, language)
    watched = [
        name
        for name, declared in zip(kernel.arguments, kernel.parameters, strict=True)
        if "volatile" in declared
    ]
    if kernel.template:
        return "it is a template; instantiate it first"
    if _GRID.search(body) or _GRID.search(outside):
        return "it synchronises the whole grid or a cluster of blocks"
    if _ASSEMBLY.search(text):
        return "inline assembly reads the block index"
    if _BLOCK_INDEX[language].search(outside):
        return "a function outside of the kernel reads the block index"
    if _spins(body, watched) or _spins(outside, []):
        return "it may wait for another block in a loop"
    if _returns_before_barrier(body, _BARRIER.search(outside) is not None):
        return "a thread may return before a barrier that the others still reach"
    return None


def _outside(text: str, language: Language) -> str:
    """The text without comments and without its kernels: what they may call."""
    plain = blank(text)
    for kernel in find_kernels(text, language):
        plain = plain[: kernel.start] + " " * (kernel.end - kernel.start) + plain[kernel.end :]
    return plain


def _spins(body: str, watched: list[str]) -> bool:
    for condition, inside in _loops(body):
        if _SHARED_READ.search(condition) or not inside.strip("; \n\t{}"):
            return True
        if any(re.search(rf"\b{name}\b", condition) for name in watched):
            return True
        if "__nanosleep" in inside:
            return True
    return False


def _loops(body: str) -> Iterator[tuple[str, str]]:
    """Condition and body of every loop."""
    for found in _LOOP.finditer(body):
        if found[1] is None:
            end = closing(body, found.end() - 1)
            tail = re.compile(r"\s*while\s*\(").match(body, end + 1)
            if tail is None:
                continue
            yield body[tail.end() : closing(body, tail.end() - 1)], body[found.end() : end]
            continue
        after = closing(body, found.end() - 1)
        condition = body[found.end() : after]
        if found[1] == "while" and body[: found.start()].rstrip().endswith("}"):
            before = body[: found.start()].rstrip()
            if _closes_do(before):
                continue  # the end of a do loop, seen there
        rest = body[after + 1 :]
        skipped = len(rest) - len(rest.lstrip())
        start = after + 1 + skipped
        if start < len(body) and body[start] == "{":
            yield condition, body[start + 1 : closing(body, start)]
        else:
            stop = body.find(";", start)
            yield condition, body[start : stop + 1]


def _closes_do(before: str) -> bool:
    """Whether the last brace of the text closes the body of a do loop."""
    depth = 0
    for position in range(len(before) - 1, -1, -1):
        depth += (before[position] == "}") - (before[position] == "{")
        if depth == 0:
            return re.search(r"\bdo\s*$", before[:position]) is not None
    return False


def _returns_before_barrier(body: str, called: bool) -> bool:
    """A thread that has left would meet the others' barrier in the next tile.

    `called` says that functions outside may hold barriers: then no return is known to be last.
    """
    barriers = [found.start() for found in _BARRIER.finditer(body)]
    first_return = re.search(r"\breturn\b", body)
    if first_return is None:
        return False
    if called or (barriers and first_return.start() < barriers[-1]):
        return True
    return any(
        _BARRIER.search(inside) is not None and re.search(r"\breturn\b", inside) is not None
        for _, inside in _loops(body)
    )
