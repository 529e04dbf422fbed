"""Nothing goes in; blueprints of the networks that the MDTB benchmark names come out.

MDTB (mixed-critical tasks, arXiv 2307.04339) runs a GRU, an LSTM and CifarNet, whose files it
does not publish. The sizes here: CifarNet is the small network for CIFAR-10 that comes with
Caffe as "cifar10_quick" (145,578 parameters); the recurrent ones have two layers of 512 units
over 25 frames of 512 features and a dense layer of 128, a common size for speech and language
on a device.
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cotenant.graph.blueprint import Blueprint, blueprint
from cotenant.graph.light import BATCH, Shapes

FRAMES = 25
UNITS = 512
SCORES = 128
_OPSET = 13
_IR_VERSION = 8


def cifarnet() -> Blueprint:
    """Three convolutions of 5x5, each pooled to half, and two dense layers."""
    shapes: Shapes = {}
    nodes: list[NodeProto] = []
    signal = "image"
    for layer, (before, after) in enumerate(((3, 32), (32, 32), (32, 64)), start=1):
        shapes[f"conv{layer}_w"], shapes[f"conv{layer}_b"] = (after, before, 5, 5), (after,)
        conv, pool, relu = f"conv{layer}", f"pool{layer}", f"relu{layer}"
        read = [signal, f"conv{layer}_w", f"conv{layer}_b"]
        pooling = "MaxPool" if layer == 1 else "AveragePool"
        window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}
        nodes.append(_node("Conv", read, conv, kernel_shape=[5, 5], pads=[2, 2, 2, 2]))
        if layer == 1:  # Caffe's network pools before it rectifies here, and after it later
            nodes += [_node(pooling, [conv], pool, **window), _node("Relu", [pool], relu)]
            signal = relu
        else:
            nodes += [_node("Relu", [conv], relu), _node(pooling, [relu], pool, **window)]
            signal = pool
    nodes.append(_node("Flatten", [signal], "flat", axis=1))
    nodes += _dense("flat", "ip1", 64 * 4 * 4, 64, shapes)
    nodes += _dense("ip1", "ip2", 64, 10, shapes)
    nodes.append(_node("Softmax", ["ip2"], "scores", axis=1))
    return _finish("cifarnet", nodes, "image", (3, 32, 32), (10,), shapes)


def lstm() -> Blueprint:
    """Two LSTM layers over a sequence, and scores for its last frame."""
    return _recurrent("lstm", "LSTM", gates=4)


def gru() -> Blueprint:
    """Two GRU layers over a sequence, and scores for its last frame."""
    return _recurrent("gru", "GRU", gates=3)


def _recurrent(name: str, kind: str, gates: int) -> Blueprint:
    shapes: Shapes = {}
    nodes = [_node("Transpose", ["frames"], "steps", perm=[1, 0, 2])]
    signal = "steps"
    for layer in (1, 2):
        for letter in "wr":
            shapes[f"layer{layer}_{letter}"] = (1, gates * UNITS, UNITS)
        shapes[f"layer{layer}_b"] = (1, 2 * gates * UNITS)
        read = [signal, *(f"layer{layer}_{letter}" for letter in "wrb")]
        states, last = f"layer{layer}_states", f"layer{layer}_last"
        signal = f"layer{layer}"
        if layer == 1:
            nodes.append(_node(kind, read, states, hidden_size=UNITS))
            nodes.append(_node("Squeeze", [states, "direction_axis"], signal))
        else:
            nodes.append(helper.make_node(kind, read, ["", last], last, hidden_size=UNITS))
            nodes.append(_node("Squeeze", [last, "last_axis"], signal))
    nodes += _dense("layer2", "dense", UNITS, SCORES, shapes)
    nodes.append(_node("Softmax", ["dense"], "scores", axis=1))
    axes = {"direction_axis": 1, "last_axis": 0}
    return _finish(name, nodes, "frames", (FRAMES, UNITS), (SCORES,), shapes, axes)


def _node(kind: str, read: list[str], output: str, **attributes: object) -> NodeProto:
    return helper.make_node(kind, read, [output], output, **attributes)


def _dense(signal: str, name: str, before: int, after: int, shapes: Shapes) -> list[NodeProto]:
    shapes[f"{name}_w"], shapes[f"{name}_b"] = (after, before), (after,)
    return [_node("Gemm", [signal, f"{name}_w", f"{name}_b"], name, transB=1)]


def _finish(
    name: str,
    nodes: list[NodeProto],
    read: str,
    read_shape: tuple[int, ...],
    scores_shape: tuple[int, ...],
    shapes: Shapes,
    axes: dict[str, int] | None = None,
) -> Blueprint:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        name,
        [value(read, TensorProto.FLOAT, [BATCH, *read_shape])],
        [value("scores", TensorProto.FLOAT, [BATCH, *scores_shape])],
        [numpy_helper.from_array(np.array([axis]), key) for key, axis in (axes or {}).items()],
    )
    model: ModelProto = helper.make_model(
        graph,
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="cotenant",
    )
    return blueprint(name, model, shapes)
