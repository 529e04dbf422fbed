"""A model goes in; what runs it plain comes out: we, and what a user would take instead.

On CUDA that is PyTorch, in float32 and in TF32; elsewhere it is ONNX Runtime on the processor.
Inputs and outputs stay where they are: what is timed is the network.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime

from cotenant.bench.torch_graph import TorchGraph
from cotenant.core.clock import MonotonicClock
from cotenant.core.request import Tensors
from cotenant.device.bundle import Bundle
from cotenant.device.elastic.driver import wait_for
from cotenant.device.elastic.place import Place, side_queues, with_sides
from cotenant.device.elastic.ready import make_ready
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.stages import launch_stages, recorded

OURS = "ours"


class Contestant(NamedTuple):
    """Runs a network so many times; all of it has ended on return."""

    name: str
    run: Callable[[int], object]

    def mean_s(self, times: int) -> float:
        """Time of one of so many inferences, one after the other."""
        now = MonotonicClock().now
        start_s = now()
        self.run(times)
        return (now() - start_s) / times


def ours(bundle: Bundle, place: Place, inputs: Tensors) -> Contestant:
    """The untransformed kernels, as a critical task has them.

    Raises:
        DeviceError: the device cannot run the bundle.
    """
    place = with_sides(place, side_queues(place.device))
    resident = Resident(bundle, place)
    make_ready(resident, place, frozenset())
    wait_for(resident.feed(place.queue, inputs))
    recording = recorded(resident, place)

    def run(times: int) -> None:
        for _ in range(times):
            if recording is None:
                launch_stages(resident, place)
            else:
                place.queue.replay(recording)
        place.queue.finish()

    return Contestant(OURS, run)


def rivals(kind: str, path: Path, inputs: Tensors) -> tuple[Contestant, ...]:
    """The others on the same machine; none where PyTorch with CUDA is not installed.

    Raises:
        Unsupported: the model has an operator that is not mapped to PyTorch.
    """
    if kind != "cuda":
        return (_onnxruntime(path, inputs),)
    if importlib.util.find_spec("torch") is None:
        return ()
    torch: Any = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return ()
    graph = TorchGraph(path, torch, "cuda")
    given = {name: graph.tensor(array) for name, array in inputs.items()}
    return tuple(
        Contestant(f"PyTorch {name}", _torch_run(torch, graph, given, tf32))
        for name, tf32 in (("float32", False), ("TF32", True))
    )


def _torch_run(
    torch: Any, graph: TorchGraph, given: Mapping[str, Any], tf32: bool
) -> Callable[[int], None]:
    def run(times: int) -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        with torch.inference_mode():
            for _ in range(times):
                graph(given)
        torch.cuda.synchronize()

    return run


def _onnxruntime(path: Path, inputs: Tensors) -> Contestant:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(times: int) -> None:
        for _ in range(times):
            session.run(None, inputs)

    return Contestant("ONNX Runtime", run)
