"""The fake refuses misuse as the driver does, and has its names, arguments and values."""

import ctypes
import gc
from enum import EnumMeta, IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotenant.compiler.source import split_list
from cotenant.device.bundle import Code, read_bundle
from cotenant.device.cuda.api import Cuda
from cotenant.device.cuda.driver import open_place
from cotenant.device.elastic.driver import DriverError
from cotenant.device.elastic.place import with_sides
from cotenant.device.elastic.queues import open_queues
from cotenant.device.elastic.ready import bandwidth, make_ready, views
from cotenant.device.elastic.resident import Resident
from cotenant.device.elastic.stages import recorded
from cotenant.device.sharing import Form
from tests.device.cuda import codes
from tests.device.cuda.fake import FakeCuda
from tests.device.cuda.machine import Event, Graph, Stream
from tests.device.cuda.programs import bundled, stub_ptx
from tests.device.elastic.programs import branching_program

SOURCE = 'extern "C" __global__ void sum(const unsigned int* a, unsigned int n) { }'


@pytest.fixture
def fake() -> FakeCuda:
    return FakeCuda()


@pytest.fixture
def cuda(fake: FakeCuda) -> Cuda:
    made = Cuda(fake)
    made.use(made.call(fake.cuDevicePrimaryCtxRetain, made.call(fake.cuDeviceGet, 0)))
    return made


def test_nothing_works_before_it_is_initialised_or_without_a_context() -> None:
    fake = FakeCuda()
    assert fake.cuMemAlloc(4) == (codes.CUresult.CUDA_ERROR_NOT_INITIALIZED,)
    fake.cuInit(0)
    assert fake.cuMemAlloc(4) == (codes.CUresult.CUDA_ERROR_INVALID_CONTEXT,)


def test_handles_that_were_not_given_or_are_gone(fake: FakeCuda, cuda: Cuda) -> None:
    stream = cuda.call(fake.cuStreamCreateWithPriority, 1, -5)
    event = cuda.call(fake.cuEventCreate, 1)
    cuda.call(fake.cuEventRecord, event, stream)
    with pytest.raises(DriverError, match="INVALID_HANDLE"):
        cuda.call(fake.cuEventRecord, object(), stream)
    with pytest.raises(DriverError, match="INVALID_HANDLE"):
        cuda.call(fake.cuEventRecord, stream, event)
    cuda.call(fake.cuStreamDestroy, stream)
    with pytest.raises(DriverError, match="INVALID_HANDLE"):
        cuda.call(fake.cuEventRecord, event, stream)
    with pytest.raises(DriverError, match="INVALID_VALUE"):
        cuda.call(fake.cuStreamCreateWithPriority, 1, 7)


def test_memory_that_is_gone_or_left(fake: FakeCuda, cuda: Cuda) -> None:
    stream = cuda.call(fake.cuStreamCreateWithPriority, 1, 0)
    address = cuda.call(fake.cuMemAlloc, 64)
    cuda.call(fake.cuMemsetD32Async, address, 1, 16, stream)
    with pytest.raises(DriverError, match="INVALID_VALUE"):
        cuda.call(fake.cuMemsetD32Async, address, 1, 17, stream)
    cuda.call(fake.cuMemFree, address)
    with pytest.raises(DriverError, match="INVALID_VALUE"):
        cuda.call(fake.cuMemsetD32Async, address, 1, 1, stream)
    with pytest.raises(DriverError, match="INVALID_VALUE"):
        cuda.call(fake.cuMemFree, address)


def test_modules(fake: FakeCuda, cuda: Cuda) -> None:
    stream = cuda.call(fake.cuStreamCreateWithPriority, 1, 0)
    with pytest.raises(AssertionError, match="zero byte"):
        cuda.call(fake.cuModuleLoadDataEx, stub_ptx(SOURCE), 0, [], [])
    module = cuda.call(fake.cuModuleLoadDataEx, stub_ptx(SOURCE) + b"\0", 0, [], [])
    with pytest.raises(DriverError, match="NOT_FOUND"):
        cuda.call(fake.cuModuleGetFunction, module, b"summ")
    function = cuda.call(fake.cuModuleGetFunction, module, b"sum")
    cuda.call(fake.cuModuleUnload, module)
    with pytest.raises(DriverError, match="INVALID_HANDLE"):
        launch(fake, cuda, function, stream, [0, 0])


def test_arguments_are_read_as_the_parameters_are(fake: FakeCuda, cuda: Cuda) -> None:
    seen: list[Any] = []
    fake._bodies = {"sum": lambda tile, threads, given: seen.append(given)}
    stream = cuda.call(fake.cuStreamCreateWithPriority, 1, 0)
    module = cuda.call(fake.cuModuleLoadDataEx, stub_ptx(SOURCE) + b"\0", 0, [], [])
    function = cuda.call(fake.cuModuleGetFunction, module, b"sum")
    address = cuda.call(fake.cuMemAlloc, 64)
    cuda.call(fake.cuMemsetD32Async, address, 9, 16, stream)
    launch(fake, cuda, function, stream, [address + 4, 0xFFFF_FFFF_0000_0007])
    fake._run_all()
    ((memory, number),) = seen
    assert memory.view(np.uint32).tolist() == [9] * 15
    assert number == 7, "a parameter of four bytes takes four"
    launch(fake, cuda, function, stream, [12345, 0])
    fake._run_all()
    with pytest.raises(DriverError, match="ILLEGAL_ADDRESS") as caught:
        cuda.call(fake.cuMemAlloc, 4)
    assert caught.value.lost


def launch(fake: FakeCuda, cuda: Cuda, function: Any, stream: Any, bits: list[int]) -> None:
    slots = (ctypes.c_uint64 * len(bits))(*bits)
    first = ctypes.addressof(slots)
    pointers = (ctypes.c_void_p * len(bits))(*range(first, first + 8 * len(bits), 8))
    given = (function, 1, 1, 1, 4, 1, 1, 0, stream, ctypes.addressof(pointers), 0)
    cuda.call(fake.cuLaunchKernel, *given)


def test_ordinary_memory_keeps_who_copies_and_pinned_does_not(
    fake: FakeCuda, tmp_path: Path
) -> None:
    place = open_place(0, fake)
    buffer = place.device.buffer(64)
    place.queue.fill(buffer, 5, 64)
    array, copied = place.queue.download(buffer, (16,), "uint32")
    assert array.tolist() != [5] * 16, "nothing was waited for"
    copied.wait()
    assert array.tolist() == [5] * 16
    found = np.empty(16, np.uint32)
    place.queue.fill(buffer, 6, 64)
    place.queue.read(buffer, found)
    assert found.tolist() == [6] * 16


class _Asking(FakeCuda):
    """Hands everything to the package, too, as it would be with a driver."""

    def __init__(self, real: Any, **about: Any) -> None:
        super().__init__(**about)
        self.real = real
        self.asked: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        own = super().__getattribute__(name)
        if not name.startswith("cu"):
            return own

        def ask(*given: Any) -> Any:
            if name not in self.asked:
                self.asked.add(name)
                # It turns all arguments into those of C, and only then looks for the library.
                with pytest.raises(RuntimeError, match=r"(?i)driver|libcuda|dlopen"):
                    getattr(self.real, name)(*(self._theirs(name, one) for one in given))
            return own(*given)

        return ask

    def _theirs(self, name: str, given: Any) -> Any:
        kinds = {Stream: "CUstream", Event: "CUevent", Graph: "CUgraph", str: "CUdevice"}
        if isinstance(given, Graph) and name not in ("cuGraphDestroy", "cuGraphInstantiate"):
            return self.real.CUgraphExec(0)
        if type(given) in kinds:
            return getattr(self.real, kinds[type(given)])(0)
        if isinstance(given, IntEnum):
            return getattr(self.real, type(given).__name__)(int(given))
        if isinstance(given, list):
            return [self._theirs(name, one) for one in given]
        handles = {"Module": "CUmodule", "Function": "CUfunction", "object": "CUcontext"}
        if type(given).__name__ in handles:
            return getattr(self.real, handles[type(given).__name__])(0)
        return given


def test_the_package_takes_what_it_is_given(tmp_path: Path) -> None:
    """The types of all arguments, as far as that shows without a driver."""
    real = package()
    try:
        real.cuInit(0)
    except RuntimeError:
        pass
    else:
        pytest.skip("there is a driver; test_real shows more")
    fake = _Asking(real)
    place = open_place(0, fake)
    folder = bundled(branching_program(), tmp_path, "b")
    one = Resident(read_bundle(folder, "cuda"), with_sides(place, 2))
    queues = open_queues(place, critical_first=True)
    make_ready(one, queues.loading, frozenset(Form))
    views(one, queues.loading, bandwidth(queues.loading), lambda: None)
    recording = recorded(one, queues.critical)
    assert recording is not None
    assert place.queue.replay(recording).ended in (True, False)
    one.progress(place.queue)
    place.device.build(Code("", stub_ptx(SOURCE)), "sum").kernel("sum", shared_bytes=64)
    del one, recording, queues
    gc.collect()
    assert place.queue.marker().wait() is None
    never = {name for name in vars(FakeCuda) if name.startswith("cu")} - fake.asked
    assert never <= {"cuGetErrorString"}, "it is not used, or was not tried"


def package() -> Any:
    return pytest.importorskip(
        "cuda.bindings.driver", reason="needs cuda-bindings: pip install 'cotenant[cuda]'"
    )


def test_names_arguments_and_values_are_the_packages() -> None:
    real = package()
    for name, own in vars(FakeCuda).items():
        if not name.startswith("cu"):
            continue
        head = getattr(real, name).__doc__.splitlines()[0]
        takes = split_list(head[len(name) + 1 : -1])
        code = getattr(own, "__wrapped__", own).__code__
        assert code.co_argcount - 1 == len(takes), head
    for name, own in vars(codes).items():
        if isinstance(own, EnumMeta) and name != "IntEnum":
            theirs = getattr(real, name)
            assert {one: int(getattr(theirs, one)) for one in own.__members__} == {
                one: int(value) for one, value in own.__members__.items()
            }
