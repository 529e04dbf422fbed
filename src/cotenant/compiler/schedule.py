"""A fused function goes in; its scheduled kernels, as source text, and their launches come out.

A rule of TVM's `dlight` schedules the function, and what it made is checked. It is built by
itself, so that its source stands alone and can be kept. What TVM would run on the host, a few
launches with their arguments, is read here.
"""

import logging
import math
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.error import InternalError
from tvm.ir.instrument import pass_instrument
from tvm.s_tir import dlight

from cotenant.compiler.occupancy import limits_of
from cotenant.compiler.program import Kernel, Target
from cotenant.compiler.source import Language
from cotenant.compiler.unit import Call, Unit
from cotenant.core.errors import ModelError

_log = logging.getLogger("cotenant")

RECIPE = 3
"""Raised when the same function comes to be built in another way."""

_AXES = ("x", "y", "z")
_STATIC_SHARED_BYTES = 48 << 10
"""More than that CUDA gives only to a kernel that asks for it at its launch."""


def tvm_target(target: Target) -> Any:
    """The target as TVM names it; it is entered while passes run."""
    kind = "opencl" if target.language is Language.OPENCL else "cuda"
    described = {"kind": kind} | ({"arch": target.architecture} if target.architecture else {})
    return tvm.target.Target(described)


_RULES = (
    dlight.gpu.Matmul(),
    dlight.gpu.GEMV(),
    dlight.gpu.Reduction(),
    dlight.gpu.GeneralReduction(),
    dlight.gpu.Fallback(),
)
"""The first that fits a function schedules it; the last fits all."""


@pass_instrument
class _Watch:
    """Keeps functions as they are at two points of their way."""

    def __init__(self) -> None:
        self.simple: Any = None
        """Once indices are simple, and threads still loops."""
        self.split: Any = None
        """Just after host and device have been split."""

    def run_after_pass(self, module: Any, about: Any) -> None:
        if about.name == "s_tir.StmtSimplify" and self.simple is None:
            self.simple = module
        elif about.name == "tirx.SplitHostDevice":
            self.split = module


def build_unit(name: str, function: Any, target: Target) -> Unit:
    """Schedule and build one fused function.

    Raises:
        ModelError: no rule fits, or the host would have to do more than launch kernels.
    """
    for rule in _RULES:
        try:
            unit = build_by_rule(name, function, target, rule)
        except InternalError as error:
            raise ModelError(
                f"kernel {name!r} does not build: TVM: {error}; serve the model on the CPU"
            ) from error
        if unit is not None:
            return unit
    raise ModelError(f"no schedule fits kernel {name!r}; serve the model on the CPU")


def build_by_rule(name: str, function: Any, target: Target, rule: Any) -> Unit | None:
    """The function as this rule schedules it; `None` where the rule does not fit.

    Raises:
        ModelError: the host would have to do more than launch kernels.
    """
    device = tvm_target(target)
    module = tvm.IRModule({name: function.with_attr("global_symbol", name)})
    watch = _Watch()
    with device:
        try:
            module = dlight.ApplyDefaultSchedule(rule)(module)
        except (s_tir.ScheduleError, AssertionError):
            # A step's preconditions fail; those that are the rule's own, dlight asserts.
            return None
        except Exception as error:
            if not type(rule).__module__.startswith("tvm."):
                raise  # a rule of ours
            what = f"{type(rule).__name__}: {type(error).__name__}: {error}"
            _log.warning("kernel %r: a rule of TVM fails, and the next is taken: %s", name, what)
            return None
        if "tirx.is_scheduled" not in module[name].attrs:
            return None
        with tvm.transform.PassContext(instruments=[watch]):
            built = tirx.build(module, target=device.with_host(tvm.target.Target("c")))
    if _reads_of_other_threads(watch.simple[name]):
        return None
    most_bytes = min(_STATIC_SHARED_BYTES, limits_of(target.architecture).block_shared_bytes)
    if any(_shared_bytes(one) > most_bytes for one in watch.split.functions.values()):
        return None
    inspect = tvm_ffi.get_global_func("ffi.ModuleInspectSource")
    format_ = "cuda" if target.language is Language.CUDA else ""
    # A function that launches nothing (it has no elements) has no device module.
    source = str(inspect(built.imports[0], format_)) if built.imports else ""
    return _host(name, watch.split[name], source)


def _reads_of_other_threads(function: Any) -> bool:
    """Whether an index into a thread's own memory depends on the thread's number.

    It never does where a thread reads what it wrote. `Reduction` takes a result that a
    later loop shares out anew among the threads for a thread's own; what is read then was
    written by another thread, so the next rule has to do.
    """
    threads, found = set(), []

    def note_thread(loop: Any) -> None:
        if loop.kind == tirx.ForKind.THREAD_BINDING and "threadIdx" in (
            loop.thread_binding.thread_tag
        ):
            threads.add(loop.loop_var)

    def look(buffer: Any, indices: Any) -> None:
        if isinstance(buffer, tirx.Buffer) and buffer.scope() == "local":
            for index in indices:
                tvm_ffi.structural_walk(
                    index, (tirx.Var, lambda one: found.append(one in threads)), order="post"
                )

    body = function.body
    tvm_ffi.structural_walk(body, (tirx.For, note_thread), order="post")
    tvm_ffi.structural_walk(
        body, (tvm.ir.TensorLoad, lambda one: look(one.source, one.indices)), order="post"
    )
    tvm_ffi.structural_walk(
        body, (tirx.BufferStore, lambda one: look(one.buffer, one.indices)), order="post"
    )
    return any(found)


def _shared_bytes(function: Any) -> int:
    """Of the memory that the threads of a block share.

    `GeneralReduction` takes all that it sums up into one block where what follows cannot be
    inlined, however much that is.
    """
    found: list[int] = []

    def look(statement: Any) -> None:
        if statement.buffer.scope() == "shared":
            found.append(_bytes(statement.buffer.ty))

    tvm_ffi.structural_walk(function.body, (tirx.AllocBuffer, look), order="post")
    return sum(found)


def _host(name: str, function: Any, source: str) -> Unit:
    """Read the launches out of a host function."""
    # Buffers of the host function: parameters by number, workspaces by name.
    meaning: dict[Any, int | str] = {param: n for n, param in enumerate(function.params)}
    workspaces: dict[str, int] = {}
    kernels, calls = [], []

    def look(statement: Any) -> None:
        match statement:
            case tirx.SeqStmt():
                for each in statement.seq:
                    look(each)
            case tirx.DeclBuffer():
                meaning[statement.buffer] = meaning[_root(statement.data)]
            case tirx.AllocBuffer():
                key = f"{name}.{statement.buffer.name}"
                meaning[statement.buffer] = key
                workspaces[key] = _bytes(statement.buffer.ty)
            case tirx.Evaluate(value=tvm.ir.Call() as call) if (
                call.op.name == "tirx.call_ffi_kernel"
            ):
                kernel, arguments = _launch(call, source)
                kernels.append(kernel)
                calls.append(Call(kernel.name, tuple(meaning[each] for each in arguments)))
            case tirx.AttrStmt():
                look(statement.body)
            case tirx.Evaluate():
                pass  # a constant: nothing is left to do
            case _:
                raise ModelError(
                    f"kernel {name!r} needs a {type(statement).__name__} on the host, which a "
                    "bundle cannot express; serve the model on the CPU"
                )

    look(function.body)
    return Unit(tuple(kernels), tuple(calls), workspaces)


def _root(pointer: Any) -> Any:
    """The buffer behind `buffer.data`."""
    return pointer.args[0]


def _launch(call: Any, source: str) -> tuple[Kernel, list[Any]]:
    tags = [str(tag) for tag in call.attrs.launch_params]
    name, *rest = call.args
    arguments, extents = rest[: len(rest) - len(tags)], rest[len(rest) - len(tags) :]
    size = {tag: int(extent) for tag, extent in zip(tags, extents, strict=True)}
    kernel = Kernel(
        name=str(name.value),
        source=source,
        grid=_triple(size.get(f"blockIdx.{axis}", 1) for axis in _AXES),
        block=_triple(size.get(f"threadIdx.{axis}", 1) for axis in _AXES),
        shared_bytes=size.get("tirx.use_dyn_shared_memory", 0),
    )
    return kernel, [_root(argument) for argument in arguments]


def _triple(sizes: Any) -> tuple[int, int, int]:
    x, y, z = sizes
    return x, y, z


def _bytes(kind: Any) -> int:
    size: int = math.prod(int(extent) for extent in kind.shape) * np.dtype(str(kind.dtype)).itemsize
    return size
