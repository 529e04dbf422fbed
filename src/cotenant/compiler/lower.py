"""An ONNX model goes in; its fused and scheduled kernels, as source text, come out.

This file, `schedule` and `variants` are the place that knows Apache TVM. Its front end makes a
graph of operators, which are fused; each of the fused functions is scheduled and built by
itself; what TVM's machine would execute, one call after another, becomes steps.
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
from tvm import relax, tirx
from tvm.relax.frontend.onnx import from_onnx

from cotenant.compiler.bind import Shape, bind_inputs, with_input_names
from cotenant.compiler.fold import fold_shapes
from cotenant.compiler.front import Report
from cotenant.compiler.program import Array, Program, Step, Target, Variant
from cotenant.compiler.schedule import RECIPE, build_unit, tvm_target
from cotenant.compiler.unit import Unit, UnitCache
from cotenant.compiler.unroll import unroll
from cotenant.compiler.variants import VARIANT_RECIPE, build_variants, heavy_functions
from cotenant.core.errors import ModelError
from cotenant.core.model import TensorSpec

COMPILER = f"tvm {tvm.__version__}"


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
    model = unroll(fold_shapes(model, inputs), inputs)
    with tvm_target(target):
        module = _fused(model, inputs, path)
    functions = {
        variable.name_hint: function
        for variable, function in module.functions.items()
        if isinstance(function, tirx.PrimFunc)
    }
    units = {}
    for number, (name, function) in enumerate(functions.items()):
        tell(name, number, len(functions))
        key = f"{COMPILER} recipe {RECIPE}\n{target}\n{name}\n{function.script()}"
        units[name] = cache.keep(key, partial(build_unit, name, function, target))
    tell("done", len(functions), len(functions))
    program = _Walk(module["main"], units).program(
        inputs, tuple(value.name for value in model.graph.output)
    )
    used = {step.kernel for step in program.steps}
    single = {
        name: unit
        for name, unit in units.items()
        if len(unit.kernels) == 1 and unit.kernels[0].name in used
    }
    variants = _variants(functions, single, target=target, cache=cache, tell=tell)
    return program._replace(variants=variants)


def _variants(
    functions: Mapping[str, Any],
    units: Mapping[str, Unit],
    *,
    target: Target,
    cache: UnitCache,
    tell: Report,
) -> tuple[Variant, ...]:
    """Further schedules of the kernels in which most of the arithmetic is.

    Args:
        units: those of one kernel; others have no variants.
    """
    heavy = [name for name in heavy_functions(functions) if name in units]
    found: list[Variant] = []
    for number, name in enumerate(heavy):
        tell(f"variants of {name}", number, len(heavy))

        def keep(schedule: str, build: Callable[[], Unit], name: str = name) -> Unit:
            script = functions[name].script()
            key = f"{COMPILER} variant {VARIANT_RECIPE} {schedule}\n{target}\n{name}\n{script}"
            return cache.keep(key, build)

        found += build_variants(name, functions[name], units[name], target, keep)
    tell("variants done", len(heavy), len(heavy))
    return tuple(found)


def _fused(model: onnx.ModelProto, inputs: tuple[TensorSpec, ...], path: Path) -> Any:
    # Names of inputs become names in the kernels' source, so they must be identifiers.
    plain = {spec.name: f"input{number}" for number, spec in enumerate(inputs)}
    shapes = {plain[spec.name]: list(spec.shape) for spec in inputs}
    try:
        module = from_onnx(
            with_input_names(model, plain), shape_dict=shapes, keep_params_in_input=False
        )
    except tvm.error.OpNotImplemented as error:
        raise ModelError(_unknown_operators(model, path, str(error))) from error
    except Exception as error:  # what it did not expect of a graph, it may raise anything about
        raise ModelError(
            f"the compiler's front end cannot read {str(path)!r}: "
            f"{type(error).__name__}: {str(error).strip()}; export the model in another way, or "
            "serve it on the CPU"
        ) from error
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
            case relax.If():
                raise ModelError(
                    "a branch (operator 'If') is chosen while the model runs, which a bundle "
                    "cannot express; serve the model on the CPU"
                )
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
        # Which launch of a unit writes which of them is not known; a unit's inputs none writes.
        written = frozenset({*results, *scratch.values()})
        for launch in unit.calls:
            names = tuple(
                scratch[a] if isinstance(a, str) else parameters[a] for a in launch.arguments
            )
            self._steps.append(Step(launch.kernel, names, written.intersection(names)))
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
