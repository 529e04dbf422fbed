"""An ONNX model goes in; its fused and scheduled kernels, as source text, come out.

The one place that knows Apache TVM. Its front end makes a graph of operators, which are
fused; a rule of `dlight` schedules each of the fused functions; each is built by itself, so
that its source stands alone and can be kept. What TVM would run on the host, a few launches
with their arguments, is read here and becomes steps.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.ir.instrument import pass_instrument
from tvm.relax.frontend.onnx import from_onnx
from tvm.s_tir import dlight

from cotenant.compiler.bind import Shape, bind_inputs
from cotenant.compiler.program import Array, Kernel, Program, Step, Target
from cotenant.compiler.source import Language
from cotenant.compiler.unit import Call, Unit, UnitCache
from cotenant.core.errors import ModelError
from cotenant.core.model import TensorSpec

COMPILER = f"tvm {tvm.__version__}"

Report = Callable[[str, int, int], None]
"""Told what is built, how many kernels are done, and how many there are."""

_RECIPE = 1  # raise it when the same function comes to be built in another way

_AXES = ("x", "y", "z")


def lower(
    path: Path,
    target: Target,
    *,
    shapes: Mapping[str, Shape],
    batch: int,
    cache: UnitCache,
    tell: Report,
) -> Program:
    """Compile a model file for inputs of fixed shapes.

    Args:
        shapes: of inputs with free axes, by name.
        batch: length of a first axis that is free, where `shapes` does not say.

    Raises:
        ModelError: the front end lacks an operator, or an axis is still free.
    """
    model = onnx.load(path)
    inputs = bind_inputs(model, shapes, batch)
    tell("reading the graph", 0, 1)
    with _tvm_target(target):
        module = _fused(model, inputs, path)
    functions = {
        variable.name_hint: function
        for variable, function in module.functions.items()
        if isinstance(function, tirx.PrimFunc)
    }
    units = {}
    for number, (name, function) in enumerate(functions.items()):
        tell(name, number, len(functions))
        key = f"{COMPILER} recipe {_RECIPE}\n{target}\n{name}\n{function.script()}"
        units[name] = cache.keep(key, partial(_build, name, function, target))
    tell("done", len(functions), len(functions))
    return _Walk(module["main"], units).program(
        inputs, tuple(value.name for value in model.graph.output)
    )


def _fused(model: onnx.ModelProto, inputs: tuple[TensorSpec, ...], path: Path) -> Any:
    shapes = {spec.name: list(spec.shape) for spec in inputs}
    try:
        module = from_onnx(model, shape_dict=shapes, keep_params_in_input=False)
    except tvm.error.OpNotImplemented as error:
        raise ModelError(_unknown_operators(model, path, str(error))) from error
    passes = (
        relax.transform.DecomposeOpsForInference(),
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    )
    return tvm.transform.Sequential(passes)(module)


def _unknown_operators(model: onnx.ModelProto, path: Path, said: str) -> str:
    unknown = set(re.findall(r"\w+", said.rpartition(":")[2]))
    nodes = [node for node in model.graph.node if node.op_type in unknown]
    where = ", ".join(
        f"{node.op_type} (node {node.name or next(filter(None, node.output))!r})"
        for node in nodes[:5]
    )
    return (
        f"{str(path)!r} uses operators that the compiler's front end does not know: "
        f"{where or said}; export the model with them decomposed, or serve it on the CPU"
    )


def _tvm_target(target: Target) -> Any:
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


def _build(name: str, function: Any, target: Target) -> Unit:
    """Schedule and build one fused function."""
    device = _tvm_target(target)
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


class _Walk:
    """Follows the main function and gives each of its values a name."""

    def __init__(self, main: Any, units: Mapping[str, Unit]) -> None:
        self._main = main
        self._units = units
        self._names: dict[Any, Any] = {}
        self._sizes: dict[str, int] = {}
        self._constants: dict[str, Array] = {}
        self._constant_names: dict[Any, str] = {}
        self._steps: list[Step] = []

    def program(self, inputs: tuple[TensorSpec, ...], outputs: tuple[str, ...]) -> Program:
        inner = [self._new(param.ty) for param in self._main.params]
        self._names = dict(zip(self._main.params, inner, strict=True))
        for block in self._main.body.blocks:
            for binding in block.bindings:
                self._names[binding.var] = self._value(binding.value)
        last = self._value(self._main.body.body)
        given = last if isinstance(last, tuple) else (last,)
        kind = self._main.body.body.ty
        kinds = list(kind.fields) if isinstance(last, tuple) else [kind]
        used = {step.kernel for step in self._steps}
        kernels = {one.name: one for unit in self._units.values() for one in unit.kernels}
        return Program(
            inputs=inputs,
            outputs=tuple(
                TensorSpec(name, str(each.dtype), _shape(each))
                for name, each in zip(outputs, kinds, strict=True)
            ),
            input_values=tuple(inner),
            output_values=given,
            sizes_bytes=self._sizes,
            constants=self._constants,
            kernels=tuple(kernel for name, kernel in kernels.items() if name in used),
            steps=tuple(self._steps),
            compiler=COMPILER,
        )

    def _value(self, expression: Any) -> Any:
        match expression:
            case tvm.ir.Tuple():
                return tuple(self._value(field) for field in expression.fields)
            case tvm.ir.expr.GenericConst():
                return self._constant(expression)
            case relax.TupleGetItem():
                return self._value(expression.tuple_value)[expression.index]
            case tvm.ir.Call() if expression.op.name == "relax.call_tir":
                return self._call(expression)
            case tvm.ir.Call():
                raise ModelError(
                    f"operator {expression.op.name!r} did not become a kernel; "
                    "serve the model on the CPU"
                )
        return self._names[expression]

    def _constant(self, expression: Any) -> str:
        if expression not in self._constant_names:
            name = f"w{len(self._constants)}"
            self._constant_names[expression] = name
            self._constants[name] = np.ascontiguousarray(expression.value.numpy())
        return self._constant_names[expression]

    def _call(self, call: Any) -> Any:
        function, arguments = call.args[0].name_hint, self._value(call.args[1])
        kind = call.ty_args[0]
        kinds = list(kind.fields) if isinstance(kind, tvm.ir.TupleType) else [kind]
        results = [self._new(each) for each in kinds]
        parameters = [*arguments, *results]
        unit = self._units[function]
        # Workspaces are scratch memory: each call has its own, and the arena shares the bytes.
        scratch = {name: self._sized(size) for name, size in unit.workspaces.items()}
        for launch in unit.calls:
            names = (scratch[a] if isinstance(a, str) else parameters[a] for a in launch.arguments)
            self._steps.append(Step(launch.kernel, tuple(names)))
        return results[0] if len(results) == 1 else tuple(results)

    def _new(self, kind: Any) -> str:
        return self._sized(math.prod(_shape(kind)) * np.dtype(str(kind.dtype)).itemsize)

    def _sized(self, size_bytes: int) -> str:
        name = f"v{len(self._sizes)}"
        self._sizes[name] = size_bytes
        return name


def _shape(kind: Any) -> tuple[int, ...]:
    try:
        return tuple(int(extent) for extent in kind.shape)
    except (TypeError, AttributeError) as error:
        raise ModelError(
            f"a value of type {kind} has a shape that depends on the input's values; "
            "serve the model on the CPU"
        ) from error
