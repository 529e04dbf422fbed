"""Which kernels are transformed, which are not and why; text in, text out, without a device."""

import re

import pytest
from click.testing import CliRunner

from cotenant.cli.elastic import elastic
from cotenant.compiler.elastic import Rung, make_elastic
from cotenant.compiler.source import Language, find_kernels
from cotenant.core.errors import ModelError
from tests.compiler import kernels


def cuda(body: str, outside: str = "", parameters: str = "int* x, int n") -> str:
    return f'{outside}\nextern "C" __global__ void k({parameters}) {{\n{body}\n}}\n'


def test_parts_of_a_kernel() -> None:
    (one,) = find_kernels(kernels.BARRIERS, Language.OPENCL)
    assert one.name == "sums"
    assert one.arguments == ("x", "y")
    assert "reqd_work_group_size" in one.head


def test_prototypes_comments_and_literals_are_no_kernels() -> None:
    text = (
        "__global__ void __launch_bounds__(64 * 2) k(float* __restrict__ a, int b[4]);\n"
        "// __global__ void no(int a) {}\n"
        'const char* s = "__global__ void neither(int a) { \\" ";\n'
        "#define KERNEL __global__ void\n"
        "__global__ void __launch_bounds__(64 * 2) k(float* __restrict__ a, int b[4]) { }\n"
    )
    (one,) = find_kernels(text, Language.CUDA)
    assert one.name == "k"
    assert one.arguments == ("a", "b")
    assert one.head == "__global__ void __launch_bounds__(64 * 2)"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (cuda("cg::this_grid().sync();"), "whole grid"),
        (cuda("sync();", "void __device__ sync() { cg::this_grid().sync(); }"), "whole grid"),
        (cuda('asm("mov.u32 %0, %ctaid.x;" : "=r"(n));'), "assembly"),
        (cuda("f(x);", "__device__ void f(int* x) { *x = blockIdx.x; }"), "outside"),
        (cuda("while (atomicAdd(x, 0) < n) { }"), "wait"),
        (cuda("while (*(volatile int*)x != n) { n--; }"), "wait"),
        (cuda("while (x[0] != n);"), "wait"),
        (cuda("while (f[0] == 0) n++;", parameters="volatile int* f, int n"), "wait"),
        (cuda("do { n = x[0]; } while (atomicCAS(x, 0, 1) != 0);"), "wait"),
        (cuda("if (threadIdx.x > 3) return;\n__syncthreads();"), "return"),
        (cuda("for (;;) { __syncthreads(); if (threadIdx.x == 0) return; }"), "return"),
        (cuda("x[0] = n;", "template <int N>"), "template"),
    ],
)
def test_obstacles_are_named(text: str, why: str) -> None:
    made = make_elastic(text, Language.CUDA)
    (one,) = made.kernels
    assert one.rung is Rung.UNMODIFIED
    assert one.reason is not None
    assert why in one.reason
    assert made.text.strip() == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        cuda("x[blockIdx.x] = n;"),
        cuda("if (threadIdx.x > n) return;\nx[0] = 1;"),
        cuda("__syncthreads();\nif (threadIdx.x > n) return;\nx[0] = 1;"),
        # A compare-and-swap loop gets on whatever the other blocks do.
        cuda("int o = *x, a; do { a = o; o = atomicCAS(x, a, a + n); } while (a != o);"),
        cuda("for (int i = 0; i < n; ++i) { x[i] = i; }\nwhile (n > 0) { n /= 2; }"),
        cuda("x[BLOCK] = n;", "#define BLOCK blockIdx.x"),
    ],
)
def test_ordinary_kernels_are_transformed(text: str) -> None:
    (one,) = make_elastic(text, Language.CUDA).kernels
    assert one.reason is None
    assert one.rung is Rung.PREEMPTIVE


def test_known_grids_are_written_into_the_forms() -> None:
    text = cuda("x[blockIdx.x] = n;")
    (line,) = _calls(make_elastic(text, Language.CUDA, {"k": (12, 1, 1)}).text)
    assert "make_uint3(cotenant_tile, 0u, 0u), make_uint3(12u, 1u, 1u)" in line
    (flat,) = _calls(make_elastic(text, Language.CUDA, {"k": (4, 3, 1)}).text)
    assert (
        "make_uint3(cotenant_tile % 4u, cotenant_tile / 4u % 3u, cotenant_tile / 4u / 3u)" in flat
    )
    (unknown,) = _calls(make_elastic(text, Language.CUDA, {"other": (4, 3, 1)}).text)
    assert "cotenant_tile % cotenant_x" in unknown


@pytest.mark.parametrize(
    ("body", "grids", "barriers"),
    [
        ("x[blockIdx.x] = sum(n);", {}, 4),  # `sum` may have shared memory of its own
        ("x[blockIdx.x] = n;", {"k": (4, 1, 1)}, 2),
        ("__shared__ int s[1]; s[0] = n; x[blockIdx.x] = s[0];", {"k": (4, 1, 1)}, 4),
    ],
)
def test_tiles_that_may_share_memory_are_kept_apart(
    body: str, grids: dict[str, tuple[int, int, int]], barriers: int
) -> None:
    helper = "__device__ int sum(int n) { __shared__ int s[1]; s[0] = n; return s[0]; }"
    made = make_elastic(cuda(body, helper if "sum" in body else ""), Language.CUDA, grids)
    assert made.text.count("__syncthreads();") == barriers


def test_in_opencl_no_private_variable_lives_from_tile_to_tile() -> None:
    """PoCL would keep one for each thread, and make no vectors of the threads."""
    made = make_elastic("__kernel void k(__global int* x, int n) { x[0] = n; }", Language.OPENCL)
    forms = made.text[made.text.index("k_static") :]
    assert forms.count("k_tile(") == 3
    assert not re.search(r"(?<!__local )(?<!const )\buint cotenant_(tile|last)\b", forms)


@pytest.mark.parametrize(
    ("parameters", "body"),
    [
        ("__global int* x", "x[0] = 1; barrier(CLK_LOCAL_MEM_FENCE); x[1] = 1;"),
        ("__global int* x", "__local int s[4]; sum(x, s);"),
        ("__global int* x, __local int* s", "sum(x, s);"),
    ],
)
def test_threads_that_may_meet_within_a_tile_count_tiles_each(parameters: str, body: str) -> None:
    made = make_elastic(f"__kernel void k({parameters}) {{ {body} }}", Language.OPENCL).text
    assert "for (uint cotenant_tile = cotenant_begin" in made
    assert "cotenant_zero" not in made


def _calls(text: str) -> set[str]:
    """What the two forms say to a tile, but for the zero that the static one adds to pointers."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("k_tile(")]
    assert len(lines) == 2
    return {line.replace(" + cotenant_zero", "") for line in lines}


def test_an_open_brace_is_refused_with_its_line() -> None:
    with pytest.raises(ModelError, match="line 2"):
        make_elastic("// a\n__global__ void k(int* x) { if (x) {", Language.CUDA)


def test_command_takes_a_file_written_by_hand(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "add.cu"
    file.write_text(cuda("x[blockIdx.x] = n;"))
    done = CliRunner().invoke(elastic, [str(file), "-o", str(tmp_path / "out.cu")])
    assert done.exit_code == 0, done.output
    assert "k: preemptive" in done.output
    text = (tmp_path / "out.cu").read_text()
    found = {one.name for one in find_kernels(text, Language.CUDA)}
    assert found == {"k", "k_static", "k_preemptive"}
    empty = tmp_path / "none.cu"
    empty.write_text("int x;")
    assert CliRunner().invoke(elastic, [str(empty)]).exit_code == 1
