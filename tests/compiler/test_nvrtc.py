"""Elastic CUDA kernels compile for edge and server GPUs without one, and say what they need."""

import re
from pathlib import Path

import pytest

from cotenant.compiler.assembly import AssemblyCache
from cotenant.compiler.elastic import make_elastic
from cotenant.compiler.nvrtc import assemble
from cotenant.compiler.source import Language
from cotenant.core.errors import ModelError, Unsupported
from cotenant.device.cuda.nvrtc import available, version

pytestmark = pytest.mark.skipif(not available(), reason="needs NVRTC: pip install 'cotenant[ptx]'")

SUMS = """
template <class T> __device__ T twice(T x) { return x + x; }
extern "C" __global__ void __launch_bounds__(64)
sums(const float* __restrict__ x, float* y, int n) {
  __shared__ float part[64];
  extern __shared__ float extra[];
  const unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
  part[threadIdx.x] = i < n ? x[i] : 0.0f;
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x > 0) return;
  y[blockIdx.x] = twice(part[0]) / gridDim.x;
}
"""


@pytest.mark.parametrize("architecture", ["sm_87", "sm_90"])
def test_a_kernel_by_hand_in_three_forms(architecture: str) -> None:
    made = make_elastic(SUMS, Language.CUDA)
    assert [one.reason for one in made.kernels] == [None]
    found = assemble(made.text, "sums", architecture)
    for form in ("sums", "sums_static", "sums_preemptive"):
        assert f".entry {form}(".encode() in found.ptx
        assert 1 <= found.resources[form].registers <= 255
    assert f".target {architecture}".encode() in found.ptx
    assert found.resources["sums"].shared_bytes >= 4 * 64
    claimed = found.resources["sums_preemptive"].shared_bytes
    assert claimed > found.resources["sums_static"].shared_bytes


PRODUCT = """
extern "C" __global__ void __launch_bounds__(256)
product(float* __restrict__ y, float* __restrict__ x, float* __restrict__ w, void* unused) {
  __shared__ float part[256];
  float sum = 0.0f;
  for (int k = 0; k < 64; ++k)
    sum += x[k * 16 + threadIdx.y]
         * w[k * 1024 + threadIdx.y * 64 + blockIdx.x * 16 + threadIdx.x];
  part[threadIdx.x * 16 + threadIdx.y] = sum;
  __syncthreads();
  if (threadIdx.y == 0) {
    sum = 0.0f;
    for (int k = 0; k < 16; ++k) sum += part[threadIdx.x * 16 + k];
    y[blockIdx.x * 16 + threadIdx.x] = sum;
  }
}
"""


def test_what_all_tiles_read_is_not_held_in_registers() -> None:
    """The 64 values of x that a thread reads are the same for each tile: 128 registers once."""
    found = assemble(make_elastic(PRODUCT, Language.CUDA).text, "product", "sm_90").resources
    assert found["product_static"].registers < 3 * found["product"].registers


def test_kept_assemblies_are_the_compilers(tmp_path: Path) -> None:
    cache = AssemblyCache(tmp_path)
    made = make_elastic(SUMS, Language.CUDA).text
    wanted = assemble(made, "sums", "sm_87")
    assert cache.assemble(made, "sums", "sm_87") == wanted
    (kept,) = tmp_path.iterdir()
    written = kept.stat().st_mtime_ns
    assert cache.assemble(made, "sums", "sm_87") == wanted
    assert kept.stat().st_mtime_ns == written
    cache.assemble(made, "sums", "sm_90")
    assert len(list(tmp_path.iterdir())) == 2
    kept.write_text("{}")
    assert cache.assemble(made, "sums", "sm_87") == wanted


def test_a_broken_kernel_brings_the_compilers_log() -> None:
    with pytest.raises(ModelError, match=r"broken\.cu\(1\).*undefined") as caught:
        assemble("__global__ void k() { nonsense(); }", "broken", "sm_87")
    assert "sm_87" in str(caught.value)


def test_kernels_of_a_compiled_model(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("tvm", reason="needs TVM: pip install 'cotenant[compile]'")
    from cotenant.compiler.lower import lower  # noqa: PLC0415
    from cotenant.compiler.program import parse_target  # noqa: PLC0415
    from cotenant.compiler.unit import UnitCache  # noqa: PLC0415
    from tests.models import slow_model  # noqa: PLC0415

    program = lower(
        slow_model(tmp_path, size=64, depth=1),
        parse_target("cuda:sm_87"),
        shapes={},
        batch=2,
        cache=UnitCache(tmp_path),
        tell=lambda what, done, total: None,
    )
    assert program.kernels
    for kernel in program.kernels:
        made = make_elastic(kernel.source, Language.CUDA)
        found = assemble(made.text, kernel.name, "sm_87")
        assert f"{kernel.name}_preemptive" in found.resources


def test_an_architecture_that_no_compiler_knows_is_refused_with_the_remedy() -> None:
    with pytest.raises(Unsupported, match="does not compile for sm_999; a newer one may"):
        assemble("", "k", "sm_999")


def test_ptx_is_of_the_oldest_compiler_there_is() -> None:
    made = assemble('extern "C" __global__ void k(int* x) { *x = 1; }', "k", "sm_87")
    major, minor = map(int, version("sm_87").removeprefix("nvrtc ").split("."))
    assert major >= 12
    told = re.search(rb"release (\d+)\.(\d+)", made.ptx)
    assert told is not None
    assert tuple(map(int, told.groups())) == (major, minor)
