"""The program of one lane: launches come in over a socket, tensors through shared memory.

It runs in an interpreter of its own (`start.py` starts it), so that neither its lock, nor
its crash, nor its leak can reach another lane. It ends when its socket does.
Messages are JSON, never pickles: a model is foreign code.

    -> {"load": {...}}                          <- {"loaded": {...}} | {"unloadable": text}
    -> {"run": [places], "segment": n}          <- {"done": [places], ...}
                                                 | {"invalid": text} | {"failed": text}
"""

import os
import signal
import socket
from typing import Any

import numpy as np
import onnxruntime
import orjson
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from cotenant.core.clock import MonotonicClock, processor_time_s
from cotenant.core.request import Tensor, Tensors
from cotenant.device.arena import MESSAGE_BYTES, Arena, Place, end_of
from cotenant.device.cpu.huge_pages import gather
from cotenant.device.cpu.scheduling import Rung, enter_critical


def serve(channel_fd: int, memory_fd: int) -> None:
    """Serve launches until the other side closes the socket."""
    # Ctrl-C in a terminal reaches every process of the group; the front decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=channel_fd)
    arena = Arena(memory_fd)
    segments: list[onnxruntime.InferenceSession] = []
    carried: dict[str, Any] = {}
    while message := _next(channel):
        order = orjson.loads(message)
        if "load" in order:
            answer = _load(order["load"], segments)
        else:
            answer = _run(arena, segments, carried, order["run"], order["segment"])
        try:
            channel.send(orjson.dumps(answer))
        except OSError:  # the front is gone, and with it the reason to be here
            return


def _next(channel: socket.socket) -> bytes:
    try:
        return channel.recv(MESSAGE_BYTES)
    except ConnectionError:  # closed over an answer that nobody wanted any more
        return b""


def _load(order: dict[str, Any], segments: list[onnxruntime.InferenceSession]) -> dict[str, Any]:
    try:
        os.sched_setaffinity(0, order["cores"])
        if order["kind"] == "critical":
            enter_critical(Rung(order["rung"]), order["order"])
        options = _options(order["width"], order["spinning"])
        pinned = order["kind"] != "ordinary" and order["width"] == len(order["cores"])
        if pinned:
            _pin_workers(options, order["cores"])
        # Threads inherit class and cores from the thread that creates the session.
        segments.extend(
            onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for path in order["paths"]
        )
        if pinned:
            # Where this is the front's core, a request is passed on without waking another one.
            os.sched_setaffinity(0, order["cores"][:1])
        _warm_up(segments)
        gather()
    except Exception as error:  # whatever the runtime raises, the front must hear of it
        return {"unloadable": str(error)}
    inputs, outputs = _ends(segments, order["outputs"])
    return {
        "loaded": {"inputs": [_spec(n) for n in inputs], "outputs": [_spec(n) for n in outputs]}
    }


def _ends(
    segments: list[onnxruntime.InferenceSession], names: list[str] | None
) -> tuple[list[onnxruntime.NodeArg], list[onnxruntime.NodeArg]]:
    """Inputs and outputs of the whole model: any segment may read the ones or make the others."""
    made: dict[str, onnxruntime.NodeArg] = {}
    read: list[onnxruntime.NodeArg] = []
    for session in segments:
        read += [node for node in session.get_inputs() if node.name not in made]
        made |= {node.name: node for node in session.get_outputs()}
    inputs = list({node.name: node for node in read}.values())
    last = [node.name for node in segments[-1].get_outputs()]
    return inputs, [made[name] for name in names or last]


def _options(width: int, spinning: str) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = width
    options.inter_op_num_threads = 1
    if spinning == "never":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    elif spinning == "within-run":
        options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _pin_workers(options: onnxruntime.SessionOptions, cores: list[int]) -> None:
    """One core for each thread of a lane that has all cores: nothing migrates, caches stay warm.

    Else a thread that wakes another one gets it beside itself: `cotenant profile` then found 7.5
    instead of 5.3 ms for squeezenet as best-effort work that rests in between, and 3.8 instead of
    2.8 ms for gru, on two cores.
    """
    if len(cores) > 1:
        # The calling thread computes, too, on the first core; the runtime counts cores from 1.
        affinities = ";".join(str(core + 1) for core in cores[1:])
        options.add_session_config_entry("session.intra_op_thread_affinities", affinities)


def _warm_up(segments: list[onnxruntime.InferenceSession]) -> None:
    """Run twice where the shapes are known, so that the first request finds everything in place."""
    inputs = segments[0].get_inputs()
    shapes = [
        [
            1 if axis == 0 and not isinstance(size, int) else size
            for axis, size in enumerate(n.shape)
        ]
        for n in inputs
    ]
    kinds = [_ELEMENT.get(node.type) for node in inputs]
    if "object" in kinds or not all(isinstance(size, int) for shape in shapes for size in shape):
        return
    for _ in range(2):
        tensors = {
            node.name: np.zeros(shape, kind)
            for node, shape, kind in zip(inputs, shapes, kinds, strict=True)
        }
        for session in segments:
            names = [node.name for node in session.get_outputs()]
            tensors |= dict(zip(names, session.run(names, _needed(session, tensors)), strict=True))


def _run(
    arena: Arena,
    segments: list[onnxruntime.InferenceSession],
    carried: dict[str, Any],
    places: list[Place],
    segment: int,
) -> dict[str, Any]:
    try:
        if segment == 0:
            carried.clear()
            carried |= {name: _decoded(array) for name, array in arena.read(places).items()}
        session = segments[segment]
        names = [node.name for node in session.get_outputs()]
        clock = MonotonicClock()
        start_s, busy_s = clock.now(), processor_time_s()
        outputs = dict(zip(names, session.run(names, _needed(session, carried)), strict=True))
        end_s, busy_s = clock.now(), processor_time_s() - busy_s
        if segment + 1 < len(segments):
            carried |= outputs
            outputs = {}
        else:
            carried.clear()
        done = arena.write(
            {name: [np.ascontiguousarray(array)] for name, array in outputs.items()},
            start=end_of(places),
        )
    except KeyError as missing:
        carried.clear()
        return {"invalid": f"there is no tensor {missing} among them"}
    except InvalidArgument as error:
        carried.clear()
        return {"invalid": str(error)}
    except Exception as error:  # a model that fails must not end the lane
        carried.clear()
        return {"failed": str(error)}
    return {"done": done, "start_s": start_s, "end_s": end_s, "busy_s": busy_s}


def _needed(session: onnxruntime.InferenceSession, tensors: Tensors) -> dict[str, Any]:
    return {node.name: tensors[node.name] for node in session.get_inputs()}


def _decoded(array: Tensor) -> Tensor:
    """Strings travel as bytes; the runtime takes them as text."""
    if array.dtype != object:
        return array
    texts = np.empty(array.size, object)
    texts[:] = [text.decode() for text in array.flat]
    return texts.reshape(array.shape)


def _spec(node: onnxruntime.NodeArg) -> list[Any]:
    kind = _ELEMENT.get(node.type)
    if kind is None:
        raise ValueError(f"tensor {node.name!r} has type {node.type}, which cannot be served")
    shape = [size if isinstance(size, int) and size >= 0 else None for size in node.shape]
    return [node.name, kind, shape]


_ELEMENT = {
    f"tensor({onnx_name})": numpy_name
    for onnx_name, numpy_name in {
        "float": "float32",
        "double": "float64",
        "float16": "float16",
        "int8": "int8",
        "int16": "int16",
        "int32": "int32",
        "int64": "int64",
        "uint8": "uint8",
        "uint16": "uint16",
        "uint32": "uint32",
        "uint64": "uint64",
        "bool": "bool",
        "string": "object",
    }.items()
}
