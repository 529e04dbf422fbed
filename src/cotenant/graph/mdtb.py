"""Nothing goes in; blueprints of the networks that the MDTB benchmark names come out.

MDTB (mixed-critical tasks, arXiv 2307.04339) runs a GRU, an LSTM and CifarNet, whose files it
does not publish. The sizes here: CifarNet is the small network for CIFAR-10 that comes with
Caffe as "cifar10_quick" (145,578 parameters); the recurrent ones have two layers of 512 units
over 25 frames of 512 features and a dense layer of 128, sizes of speech and language networks
on a device.
"""

from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, helper

from cotenant.graph.blueprint import Blueprint, blueprint
from cotenant.graph.light import BATCH, IR_VERSION, Shapes

FRAMES = 25
UNITS = 512
SCORES = 128
_OPSET = 12


def cifarnet() -> Blueprint:
    """Three convolutions of 5x5, each pooled to half, and two dense layers."""
    shapes: Shapes = {}
    nodes = [
        _conv("image", "conv1", 3, 32, shapes),
        _pool("MaxPool", "conv1", "pool1"),  # the only one that is pooled before it is rectified
        _node("Relu", ["pool1"], "relu1"),
        _conv("relu1", "conv2", 32, 32, shapes),
        _node("Relu", ["conv2"], "relu2"),
        _pool("AveragePool", "relu2", "pool2"),
        _conv("pool2", "conv3", 32, 64, shapes),
        _node("Relu", ["conv3"], "relu3"),
        _pool("AveragePool", "relu3", "pool3"),
        _node("Flatten", ["pool3"], "flat", axis=1),
        _dense("flat", "ip1", 64 * 4 * 4, 64, shapes),
        _dense("ip1", "ip2", 64, 10, shapes),
        _node("Softmax", ["ip2"], "scores", axis=1),
    ]
    return _whole("cifarnet", nodes, {"image": (3, 32, 32)}, {"scores": (10,)}, shapes)


def lstm() -> Blueprint:
    """Two LSTM layers over a sequence, and scores for its last frame."""
    return _recurrent("lstm", "LSTM", gates=4)


def gru() -> Blueprint:
    """Two GRU layers over a sequence, and scores for its last frame."""
    return _recurrent("gru", "GRU", gates=3)


def _recurrent(name: str, kind: str, gates: int) -> Blueprint:
    shapes: Shapes = {}
    reads = []
    for layer, signal in (("layer1", "steps"), ("layer2", "states1")):
        shapes[f"{layer}_w"] = shapes[f"{layer}_r"] = (1, gates * UNITS, UNITS)
        shapes[f"{layer}_b"] = (1, 2 * gates * UNITS)
        reads.append([signal, f"{layer}_w", f"{layer}_r", f"{layer}_b"])
    nodes = [
        _node("Transpose", ["frames"], "steps", perm=[1, 0, 2]),
        _node(kind, reads[0], "layer1", hidden_size=UNITS),
        _node("Squeeze", ["layer1"], "states1", axes=[1]),
        # Only the last state is asked for: the first output of the layer stays unnamed.
        helper.make_node(kind, reads[1], ["", "layer2"], hidden_size=UNITS),
        _node("Squeeze", ["layer2"], "state2", axes=[0]),
        _dense("state2", "dense", UNITS, SCORES, shapes),
        _node("Softmax", ["dense"], "scores", axis=1),
    ]
    return _whole(name, nodes, {"frames": (FRAMES, UNITS)}, {"scores": (SCORES,)}, shapes)


def _node(kind: str, read: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, read, [output], **attributes)


def _conv(signal: str, name: str, before: int, after: int, shapes: Shapes) -> NodeProto:
    shapes[f"{name}_w"], shapes[f"{name}_b"] = (after, before, 5, 5), (after,)
    read = [signal, f"{name}_w", f"{name}_b"]
    return _node("Conv", read, name, kernel_shape=[5, 5], pads=[2, 2, 2, 2])


def _pool(kind: str, signal: str, name: str) -> NodeProto:
    return _node(kind, [signal], name, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])


def _dense(signal: str, name: str, before: int, after: int, shapes: Shapes) -> NodeProto:
    shapes[f"{name}_w"], shapes[f"{name}_b"] = (after, before), (after,)
    return _node("Gemm", [signal, f"{name}_w", f"{name}_b"], name, transB=1)


def _whole(
    name: str, nodes: list[NodeProto], inputs: Shapes, outputs: Shapes, shapes: Shapes
) -> Blueprint:
    reads, writes = (
        [
            helper.make_tensor_value_info(key, TensorProto.FLOAT, [BATCH, *shape])
            for key, shape in values.items()
        ]
        for values in (inputs, outputs)
    )
    model: ModelProto = helper.make_model(
        helper.make_graph(nodes, name, reads, writes),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="cotenant",
    )
    return blueprint(name, model, shapes)
