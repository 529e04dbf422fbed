"""A rule that does not fit gives way to the next; a fault in one does not pass for that."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("tvm", reason="needs TVM: pip install 'cotenant[compile]'")

from tvm import s_tir, te
from tvm.error import InternalError

from cotenant.compiler import schedule
from cotenant.compiler.program import parse_target
from cotenant.core.errors import ModelError

TARGET = parse_target("opencl")


class Rule:
    """A rule of dlight's kind that takes one step."""

    def __init__(self, step: Callable[[Any, Any], object]) -> None:
        self._step = step

    def apply(self, function: Any, target: Any, tunable: bool) -> Any:
        made = s_tir.Schedule(function)
        self._step(made, made.get_child_blocks(made.get_sblock("root"))[-1])
        return made


def summing_up_what_is_no_sum(made: Any, block: Any) -> None:
    made.decompose_reduction(block, made.get_loops(block)[0])


def asserting(made: Any, block: Any) -> None:
    raise AssertionError("There are some consumers that are not properly inlined.")


def sharing_too_much(made: Any, block: Any) -> None:
    wide = made.cache_read(block, 0, "shared")
    thread = made.get_loops(block)[-1]
    made.bind(thread, "threadIdx.x")
    made.bind(made.get_loops(wide)[-1], "threadIdx.x")


def mistaken(made: Any, block: Any) -> None:
    made.no_such_step(block)


@pytest.fixture
def function() -> Any:
    x = te.placeholder((400, 32), name="x")  # 50 KiB
    y = te.compute((400, 32), lambda i, j: x[i, j] + 1.0, name="y")
    return te.create_prim_func([x, y])


@pytest.mark.parametrize("step", [summing_up_what_is_no_sum, asserting, sharing_too_much])
def test_a_rule_that_does_not_fit(
    step: Callable[[Any, Any], None], function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert schedule.build_by_rule("plus", function, TARGET, Rule(step)) is None
    monkeypatch.setattr(schedule, "_RULES", (Rule(step), schedule._RULES[-1]))
    assert len(schedule.build_unit("plus", function, TARGET).kernels) == 1


def test_a_fault_in_a_rule_of_tvm_is_told(
    function: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Gemv(Rule):
        """Its module says whose it is."""

    Gemv.__module__ = "tvm.s_tir.dlight.gpu.gemv"
    monkeypatch.setattr(schedule, "_RULES", (Gemv(mistaken), schedule._RULES[-1]))
    assert len(schedule.build_unit("plus", function, TARGET).kernels) == 1
    assert "'plus': a rule of TVM fails, and the next is taken: Gemv: Attr" in caplog.text


def test_a_kernel_that_does_not_build(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*about: Any, **more: Any) -> Any:
        raise InternalError("Check failed: x > 0")

    monkeypatch.setattr(schedule.tirx, "build", build)
    with pytest.raises(ModelError, match="'plus' does not build: TVM: Check failed: x > 0"):
        schedule.build_unit("plus", function, TARGET)


def test_a_fault_in_a_rule(function: Any) -> None:
    with pytest.raises(AttributeError, match="no_such_step"):
        schedule.build_by_rule("plus", function, TARGET, Rule(mistaken))
