"""An ONNX file goes in; the same network in PyTorch, as a user would have it there, comes out.

PyTorch reads no ONNX, so the operators of the zoo's convolutional networks are mapped one by
one. What is not mapped is named and refused: no other operator stands in for it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cotenant.core.errors import Unsupported
from cotenant.core.request import Tensors

Values = list[Any]
Settings = Mapping[str, Any]
"""Attributes of a node."""


class TorchGraph:
    """A network with its weights on a device of PyTorch."""

    def __init__(self, path: Path, torch: Any, device: str) -> None:
        """Read the file.

        Raises:
            Unsupported: an operator of it is not mapped.
        """
        model = onnx.load(path)
        self._torch, self._device = torch, device
        self._functions = functions(torch)
        self._nodes = [
            (node, {one.name: helper.get_attribute_value(one) for one in node.attribute})
            for node in model.graph.node
        ]
        for node, _ in self._nodes:
            if node.op_type not in self._functions:
                raise Unsupported(
                    f"{node.op_type} (node {node.name!r}) is not mapped to PyTorch; "
                    "this model is not compared with it"
                )
        self._weights = {
            one.name: self.tensor(numpy_helper.to_array(one)) for one in model.graph.initializer
        }
        self._outputs = [one.name for one in model.graph.output]

    def tensor(self, array: Any) -> Any:
        """An array on the device."""
        return self._torch.from_numpy(np.array(array)).to(self._device)

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """All outputs for inputs that are on the device; gradients are nobody's concern."""
        values = {**self._weights, **inputs}
        for node, settings in self._nodes:
            given = [values[name] for name in node.input if name]
            values[node.output[0]] = self._functions[node.op_type](given, settings)
        return {name: values[name] for name in self._outputs}

    def outputs(self, inputs: Tensors) -> dict[str, Any]:
        """The same from arrays to arrays."""
        on_device = {name: self.tensor(array) for name, array in inputs.items()}
        return {name: one.cpu().numpy() for name, one in self(on_device).items()}


def functions(torch: Any) -> Mapping[str, Callable[[Values, Settings], Any]]:
    """By operator; each takes what a node is given, and its attributes."""
    act, fun = torch.relu, torch.nn.functional
    shares: dict[Any, Any] = {}
    """Of each window of a pooling, the part that is no padding."""

    def conv(given: Values, set_: Settings) -> Any:
        x, padding = _padded(fun, given[0], set_, 0.0)
        return fun.conv2d(
            x,
            given[1],
            given[2] if len(given) > 2 else None,
            stride=_pair(set_, "strides"),
            padding=padding,
            dilation=_pair(set_, "dilations"),
            groups=set_.get("group", 1),
        )

    def max_pool(given: Values, set_: Settings) -> Any:
        x, padding = _padded(fun, given[0], set_, -math.inf)
        ceil = bool(set_.get("ceil_mode", 0))
        sizes = tuple(set_["kernel_shape"]), _pair(set_, "strides")
        return fun.max_pool2d(x, *sizes, padding, ceil_mode=ceil)

    def average_pool(given: Values, set_: Settings) -> Any:
        x, (begin, end) = given[0], _pads(set_)
        sizes = tuple(set_["kernel_shape"]), _pair(set_, "strides")
        ceil, whole = bool(set_.get("ceil_mode", 0)), bool(set_.get("count_include_pad", 0))
        if begin == end:
            return fun.avg_pool2d(x, *sizes, begin, ceil_mode=ceil, count_include_pad=whole)
        padded, _ = _padded(fun, x, set_, 0.0)
        made = fun.avg_pool2d(padded, *sizes, ceil_mode=ceil)
        if whole:
            return made
        key = (tuple(x.shape[2:]), begin, end, sizes)
        if key not in shares:
            ones, _ = _padded(fun, torch.ones_like(x[:1, :1]), set_, 0.0)
            shares[key] = fun.avg_pool2d(ones, *sizes, ceil_mode=ceil)
        return made / shares[key]

    def normalise(given: Values, set_: Settings) -> Any:
        x, scale, bias, mean, variance = given
        return fun.batch_norm(x, mean, variance, scale, bias, eps=set_.get("epsilon", 1e-5))

    def gemm(given: Values, set_: Settings) -> Any:
        a = given[0].T if set_.get("transA", 0) else given[0]
        b = given[1].T if set_.get("transB", 0) else given[1]
        made = set_.get("alpha", 1.0) * (a @ b)
        return made + set_.get("beta", 1.0) * given[2] if len(given) > 2 else made

    def reshape(given: Values, set_: Settings) -> Any:
        x, shape = given[0], [int(one) for one in given[1].tolist()]
        return x.reshape([x.shape[at] if n == 0 else n for at, n in enumerate(shape)])

    def softmax(given: Values, set_: Settings) -> Any:
        # Up to operator set 12 all axes from this one on are one.
        x = given[0]
        return x.flatten(set_.get("axis", 1)).softmax(-1).reshape(x.shape)

    def flatten(given: Values, set_: Settings) -> Any:
        x, axis = given[0], set_.get("axis", 1)
        return x.reshape(math.prod(x.shape[:axis]), -1)

    def unsqueeze(given: Values, set_: Settings) -> Any:
        axes = set_["axes"] if "axes" in set_ else given[1].tolist()
        made = given[0]
        for axis in sorted(axes):
            made = made.unsqueeze(axis)
        return made

    def response_norm(given: Values, set_: Settings) -> Any:
        alpha, beta = set_.get("alpha", 1e-4), set_.get("beta", 0.75)
        return fun.local_response_norm(given[0], set_["size"], alpha, beta, set_.get("bias", 1.0))

    return {
        "Add": lambda given, set_: given[0] + given[1],
        "AveragePool": average_pool,
        "BatchNormalization": normalise,
        "Concat": lambda given, set_: torch.cat(given, set_["axis"]),
        "Conv": conv,
        "Dropout": lambda given, set_: given[0],
        "Flatten": flatten,
        "Gemm": gemm,
        "GlobalAveragePool": lambda given, set_: given[0].mean((2, 3), keepdim=True),
        "Identity": lambda given, set_: given[0],
        "LRN": response_norm,
        "MatMul": lambda given, set_: given[0] @ given[1],
        "MaxPool": max_pool,
        "Mul": lambda given, set_: given[0] * given[1],
        "Relu": lambda given, set_: act(given[0]),
        "Reshape": reshape,
        "Softmax": softmax,
        "Sum": lambda given, set_: sum(given[1:], given[0]),
        "Transpose": lambda given, set_: given[0].permute(tuple(set_["perm"])),
        "Unsqueeze": unsqueeze,
    }


def _pair(set_: Settings, name: str) -> tuple[int, int]:
    first, second = set_.get(name, (1, 1))
    return int(first), int(second)


def _pads(set_: Settings) -> tuple[tuple[int, int], tuple[int, int]]:
    if set_.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise Unsupported("auto_pad is not mapped to PyTorch")
    top, left, bottom, right = set_.get("pads", (0, 0, 0, 0))
    return (top, left), (bottom, right)


def _padded(fun: Any, x: Any, set_: Settings, value: float) -> tuple[Any, Sequence[int]]:
    """What is left for the operator itself, which pads both ends alike."""
    begin, end = _pads(set_)
    if begin == end:
        return x, begin
    return fun.pad(x, (begin[1], end[1], begin[0], end[0]), value=value), (0, 0)
