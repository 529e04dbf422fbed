"""An OpenCL device for the tests of this room; `test_present` says it when there is none."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.device.elastic.inferences import zoo_program

if importlib.util.find_spec("pyopencl") is None:
    collect_ignore = [
        one.name for one in Path(__file__).parent.glob("*.py") if one.name != "test_present.py"
    ]


@pytest.fixture(scope="session")
def place() -> Iterator[Any]:
    """The first device."""
    from cotenant.core.errors import DeviceError  # noqa: PLC0415
    from cotenant.device.opencl.driver import open_place  # noqa: PLC0415

    try:
        yield open_place()
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Model file and OpenCL bundle of a network of the zoo, each made once."""
    pytest.importorskip("tvm", reason="needs TVM: pip install 'cotenant[compile]'")
    from cotenant.compiler.bundle import write_bundle  # noqa: PLC0415
    from cotenant.compiler.program import parse_target  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("compiled")
    target = parse_target("opencl")
    models: dict[str, Path] = {}

    def make(name: str) -> tuple[Path, Path]:
        out = folder / name
        if name not in models:
            models[name], program = zoo_program(name, target, folder)
            write_bundle(program, name, target, out)
        return models[name], out

    return make
