"""The files that a task's lane loads: a task goes in, model files come out."""

import json
import subprocess
import sys

from cotenant.core.errors import ModelError
from cotenant.core.model import ModelFiles
from cotenant.core.task import Task
from cotenant.device.contents import is_bundle
from cotenant.graph.load import check_model, resolve_model
from cotenant.graph.partition import cut
from cotenant.graph.read import read_model


def model_files(reference: str, segments: int) -> ModelFiles:
    """Find, check and, if it is to have several segments, cut a model.

    Raises:
        ModelError: the model is unknown, damaged, unsafe or cannot be cut so often.
    """
    path = resolve_model(reference)
    if is_bundle(path):
        raise ModelError(
            f"{reference!r} is a bundle of kernels, and this component runs ONNX files; give the "
            "task a component of kind: opencl or cuda, as the bundle's target is, or name the ONNX "
            "file that it was compiled from"
        )
    check_model(path)
    if segments == 1:
        return ModelFiles((str(path),))
    outputs = tuple(output.name for output in read_model(path).model.graph.output)
    return ModelFiles(tuple(str(one.path) for one in cut(path, segments)), outputs)


def model_files_apart(task: Task) -> ModelFiles:
    """The same in an interpreter of its own: the caller's lock is free, whatever the file holds.

    Raises:
        ModelError: as above, or the file has brought its reader down.
    """
    reader = subprocess.run(
        [sys.executable, "-m", "cotenant.graph.paths", task.model, str(task.segments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if reader.returncode != 0:
        raise ModelError(
            f"task {task.name!r}: {task.model!r} ended its reader with status "
            f"{reader.returncode}: {reader.stderr.strip()[-500:]}"
        )
    answer = json.loads(reader.stdout)
    if "error" in answer:
        raise ModelError(f"task {task.name!r}: {answer['error']}")
    return ModelFiles(tuple(answer["paths"]), answer["outputs"] and tuple(answer["outputs"]))


def main() -> None:
    """Print the answer for the model and the number of segments in the arguments."""
    reference, segments = sys.argv[1:]
    try:
        print(json.dumps(model_files(reference, int(segments))._asdict()))
    except ModelError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main()
