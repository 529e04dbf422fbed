"""Cached models and ONNX Runtime for the tests of this room."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

Arrays = Mapping[str, npt.NDArray[np.generic]]
Run = Callable[[Path, Arrays], dict[str, npt.NDArray[np.generic]]]


@pytest.fixture(scope="session")
def zoo_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for all tests; it is emptied at the end, since vgg19 alone has 575 MB."""
    folder = tmp_path_factory.mktemp("zoo-cache")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a model file with ONNX Runtime as it comes, on one thread."""

    def run(path: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        session = session_of(path)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
