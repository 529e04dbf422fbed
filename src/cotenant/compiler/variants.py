"""A fused function that is heavy goes in; further schedules of it come out, each a kernel.

The design space of a function: the tiled product of two matrices (a convolution is one, too)
with other blocks, tiles and depths, with and without shared memory; and one thread for each
element of the result. What a schedule needs is known before it is built, so `score` shrinks
the space first. A schedule that turns out not to fit, that makes several kernels or scratch
memory, or that takes its arguments in another order, is left out.
"""

import dataclasses
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from tvm import s_tir, tirx
from tvm.error import InternalError
from tvm.s_tir import dlight
from tvm.s_tir.dlight.analysis import get_root_block, normalize_prim_func
from tvm.s_tir.dlight.base import try_inline
from tvm.s_tir.dlight.gpu.matmul import get_index_map, get_reduction_blocks

from cotenant.compiler.occupancy import Need, limits_of
from cotenant.compiler.program import Target, Variant
from cotenant.compiler.schedule import build_by_rule, tvm_target
from cotenant.compiler.score import Candidate, best
from cotenant.compiler.unit import Unit
from cotenant.core.errors import ModelError

_log = logging.getLogger("cotenant")

VARIANT_RECIPE = 2
"""Raised when a schedule of the same name comes to mean another one."""
VARIANTS_MAX = 5
_HEAVY_PART = 0.9
_NOTABLE_PART = 0.005
"""Of all sums. A default schedule for what is no product may be far off, as for pooling."""
_PADDING_MAX = 2.0
"""Times the arithmetic of the leanest schedule, from which on tiles are too large."""

Keep = Callable[[str, Callable[[], Unit]], Unit]
"""Gives what is kept under the name of a schedule, or builds it."""

_NONE = Unit((), (), {})
"""Stands in the cache for a schedule that does not fit."""


class _Schedule(NamedTuple):
    rule: Any
    candidate: Candidate


class _Tiled(dlight.gpu.Matmul):  # type: ignore[misc]  # TVM has no types
    """TVM's product of matrices with a configuration of ours."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self._config = config

    def get_configs(self, target: Any) -> Any:
        return self._config


class _Direct(dlight.gpu.Matmul):  # type: ignore[misc]  # TVM has no types
    """A thread sums up one element of the result, in a register."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = threads

    def apply(self, function: Any, target: Any, tunable: bool) -> Any:
        schedule = s_tir.Schedule(function)
        blocks = normalize_prim_func(schedule)
        if blocks is None:
            return None
        blocks = try_inline(schedule, blocks)
        main = [block for block in blocks if "R" in block.dom_kind()]
        if len(main) != 1 or len(blocks) > 2:
            return None
        reduction, last = main[0].block_rv, blocks[-1].block_rv
        sums = len(main[0].dom_kind().lstrip("S"))
        if "S" in main[0].dom_kind()[-sums:] or (len(blocks) == 2 and blocks[0] is not main[0]):
            return None
        if len(blocks) == 1:
            last = schedule.cache_write(reduction, 0, "local")
        else:
            schedule.set_scope(reduction, 0, "local")
        block, thread = schedule.split(
            schedule.fuse(*schedule.get_loops(last)), factors=[None, self._threads]
        )
        schedule.bind(block, "blockIdx.x")
        schedule.bind(thread, "threadIdx.x")
        schedule.compute_at(reduction, thread, preserve_unit_loops=True)
        schedule.decompose_reduction(reduction, schedule.get_loops(reduction)[-sums])
        return schedule


def heavy_functions(functions: Mapping[str, Any]) -> list[str]:
    """Functions that do most of the summing up, heaviest first, and notable ones of other kinds."""
    work = {name: _multiplications(function) for name, function in functions.items()}
    whole = sum(work.values())
    found, done = [], 0.0
    for name in sorted(work, key=lambda name: -work[name]):
        notable = work[name] > _NOTABLE_PART * whole
        if done < _HEAVY_PART * whole or (notable and _matrix_extents(functions[name]) is None):
            found.append(name)
        done += work[name]
    return found


def build_variants(
    name: str, function: Any, default: Unit, target: Target, keep: Keep
) -> Iterator[Variant]:
    """The best further schedules of a function whose default is a single kernel."""
    (kernel,), (call,) = default.kernels, default.calls
    space = dict(_space(function, tvm_target(target)))
    chosen = best(
        {one: schedule.candidate for one, schedule in space.items()},
        limits_of(target.architecture),
        VARIANTS_MAX,
    )
    seen = {(kernel.source, kernel.grid, kernel.block)}
    for one in chosen:
        try:
            unit = keep(one, partial(_built, name, function, target, space[one].rule))
        except InternalError as error:
            # A check inside TVM: its fault or ours. The kernel has its default, so compiling goes
            # on; it is said, and not kept, so that it is said again.
            _log.warning("schedule %r of kernel %r is left out: TVM: %s", one, name, error)
            continue
        if len(unit.kernels) != 1 or unit.workspaces or unit.calls != (call,):
            continue
        made = unit.kernels[0]
        shape = made.source, made.grid, made.block
        if made.name == kernel.name and shape not in seen:
            seen.add(shape)
            yield Variant(kernel.name, one, made)


def _built(name: str, function: Any, target: Target, rule: Any) -> Unit:
    """The schedule's unit, or `_NONE` if it does not fit the function.

    One whose host would have to do more than launch kernels does not, either. Whatever else is
    raised is a fault, and goes on.
    """
    try:
        return build_by_rule(name, function, target, rule) or _NONE
    except ModelError:
        return _NONE


def _space(function: Any, target: Any) -> Iterator[tuple[str, _Schedule]]:
    yield from _direct_space(function)
    extents = _matrix_extents(function)
    if extents is None:
        return
    space = dict(_tiled_space(target, *extents))
    if space:
        leanest = min(one.candidate.multiplications for one in space.values())
        for name, schedule in space.items():
            if schedule.candidate.multiplications <= _PADDING_MAX * leanest:
                yield name, schedule


def _direct_space(function: Any) -> Iterator[tuple[str, _Schedule]]:
    results, multiplications = _results(function), _multiplications(function)
    for wanted in (32, 64, 128, 256):
        threads = _divisor(results, wanted)
        need = Need(results // threads, threads, 0, None)
        yield (
            f"direct{threads}",
            _Schedule(
                _Direct(threads), Candidate("direct", need, multiplications, 2 * multiplications)
            ),
        )


def _tiled_space(
    target: Any, batch: int, rows: int, columns: int, depth: int
) -> Iterator[tuple[str, _Schedule]]:
    default = dlight.gpu.Matmul().get_configs(target)
    sizes = itertools.product(
        ((8, 8), (8, 16), (16, 8), (16, 16)),
        ((2, 2), (4, 2), (2, 4), (4, 4)),
        (8, 16),
        (True, False),
    )
    for (block_x, block_y), (micro_x, micro_y), k, shared in sizes:
        tile_x, tile_y = block_x * micro_x, block_y * micro_y
        across, down, along = (
            -(-extent // size) for extent, size in ((rows, tile_x), (columns, tile_y), (depth, k))
        )
        need = Need(
            batch * across * down,
            block_x * block_y,
            4 * (tile_x + tile_y) * k if shared else 0,
            None,
        )
        config = dataclasses.replace(
            default,
            block_size_x=block_x,
            block_size_y=block_y,
            micro_size_x=micro_x,
            micro_size_y=micro_y,
            micro_size_k=k,
            use_shared=shared,
        )
        if config == default:
            continue
        # Threads of a block are what a schedule is elastic in, so each number has its best.
        family = f"shared{need.threads}" if shared else "tiled"
        multiplications = float(batch * across * tile_x * down * tile_y * along * k)
        reads = multiplications * (1 / tile_x + 1 / tile_y)
        kind = "shared" if shared else "tiled"
        yield (
            f"{kind}{tile_x}x{tile_y}x{k}t{block_x}x{block_y}",
            _Schedule(_Tiled(config), Candidate(family, need, multiplications, reads)),
        )


def _matrix_extents(function: Any) -> tuple[int, int, int, int] | None:
    """Batch, rows, columns and depth, if the function is a product of matrices."""
    schedule = s_tir.Schedule(function)
    blocks = schedule.get_child_blocks(get_root_block(schedule))
    reductions = get_reduction_blocks(schedule, blocks)
    if reductions is None:
        return None
    maps = get_index_map(schedule.get(reductions[0]))
    if maps is None:
        return None
    schedule.transform_block_layout(reductions[0], maps[0])
    batch, rows, columns, depth = (
        int(schedule.get(loop).extent) for loop in schedule.get_loops(reductions[0])
    )
    return batch, rows, columns, depth


def _multiplications(function: Any) -> float:
    """Of the largest block that sums something up; 0 where there is none."""
    return max((float(each * summed) for each, summed in _sums(function)), default=0.0)


def _results(function: Any) -> int:
    """Sums that the largest such block gives."""
    results, _ = max(_sums(function), key=math.prod)
    return results


def _sums(function: Any) -> Iterator[tuple[int, int]]:
    """Of each block that sums: how many sums it gives, and of how many terms each."""
    schedule = s_tir.Schedule(function)
    for block in schedule.get_child_blocks(get_root_block(schedule)):
        extents = {True: 1, False: 1}
        for each in schedule.get(block).iter_vars:
            extents[each.iter_type == tirx.IterVar.CommReduce] *= int(each.dom.extent)
        if any(each.iter_type == tirx.IterVar.CommReduce for each in schedule.get(block).iter_vars):
            yield extents[False], extents[True]


def _divisor(number: int, wanted: int) -> int:
    """The largest divisor up to `wanted`, if possible of whole warps."""
    divisors = [one for one in range(1, wanted + 1) if number % one == 0]
    return max(divisors, key=lambda one: (one % 32 == 0, one))
