"""A fused function goes in; its scheduled kernels, as source text, and their launches come out.

A rule of TVM's `dlight` schedules the function. It is built by itself, so that its source
stands alone and can be kept. What TVM would run on the host, a few launches with their
arguments, is read here.
"""

import math
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir.instrument import pass_instrument
from tvm.s_tir import dlight

from cotenant.compiler.program import Kernel, Target
from cotenant.compiler.source import Language
from cotenant.compiler.unit import Call, Unit
from cotenant.core.errors import ModelError

RECIPE = 1
"""Raised when the same function comes to be built in another way."""

_AXES = ("x", "y", "z")


def tvm_target(target: Target) -> Any:
    """The target as TVM names it; it is entered while passes run."""
    kind = "opencl" if target.language is Language.OPENCL else "cuda"
    described = {"kind": kind} | ({"arch": target.architecture} if target.architecture else {})
    return tvm.target.Target(described)


@pass_instrument
class _SplitWatch:
    """Keeps the functions as they are just after host and device have been split."""

    def __init__(self) -> None:
        self.module: Any = None

    def run_after_pass(self, module: Any, about: Any) -> None:
        if about.name == "tirx.SplitHostDevice":
            self.module = module


def build_unit(name: str, function: Any, target: Target) -> Unit:
    """Schedule and build one fused function.

    Raises:
        ModelError: the host would have to do more than launch kernels.
    """
    device = tvm_target(target)
    watch = _SplitWatch()
    module = tvm.IRModule({name: function.with_attr("global_symbol", name)})
    with device:
        module = dlight.ApplyDefaultSchedule(
            dlight.gpu.Matmul(),
            dlight.gpu.GEMV(),
            dlight.gpu.Reduction(),
            dlight.gpu.GeneralReduction(),
            dlight.gpu.Fallback(),
        )(module)
        with tvm.transform.PassContext(instruments=[watch]):
            built = tirx.build(module, target=device.with_host(tvm.target.Target("c")))
    inspect = tvm_ffi.get_global_func("ffi.ModuleInspectSource")
    format_ = "cuda" if target.language is Language.CUDA else ""
    # A function that launches nothing (it has no elements) has no device module.
    source = str(inspect(built.imports[0], format_)) if built.imports else ""
    return _host(name, watch.module[name], source)


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
