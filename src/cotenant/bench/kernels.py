"""An examiner and models go in; records of every kernel of every model come out.

There are two examiners: for CUDA one that says what each form needs of a multiprocessor, from
PTX that is made without a GPU; for OpenCL one that runs them.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from cotenant.bench.header import suite_header
from cotenant.compiler.assembly import AssemblyCache
from cotenant.compiler.elastic import PREEMPTIVE_SUFFIX, STATIC_SUFFIX, Rung, make_elastic
from cotenant.compiler.front import lower_model
from cotenant.compiler.program import Kernel, Program, Target
from cotenant.compiler.unit import UnitCache
from cotenant.core.errors import CotenantError
from cotenant.graph.cache import cache_folder
from cotenant.graph.zoo import zoo_path

SUITE = "kernels"
RECORDS = "records.jsonl"

Findings = Mapping[str, Any]
Tell = Callable[[str, int, int], None]
"""Told what is looked at, how many kernels are done, and how many there are."""


class Settings(NamedTuple):
    """What is measured, and how long."""

    target: Target
    models: tuple[str, ...]
    """Names of the zoo."""
    rounds: int
    seed: int


class Examiner(Protocol):
    """Looks at kernels and models."""

    @property
    def device(self) -> str:
        """Where it looks at them."""

    def kernel(self, kernel: Kernel, text: str, rung: Rung, program: Program) -> Findings:
        """What there is to say of a kernel; `text` has its elastic forms."""

    def model(self, name: str, path: Path, program: Program) -> Findings:
        """What there is to say of a whole model."""


class PtxExaminer:
    """Compiles kernels for an architecture, and keeps them."""

    def __init__(self, architecture: str) -> None:
        self._architecture = architecture
        self._cache = AssemblyCache(cache_folder() / "ptx")

    @property
    def device(self) -> str:
        return "no device: NVRTC"

    def kernel(self, kernel: Kernel, text: str, rung: Rung, program: Program) -> Findings:
        found = self._cache.assemble(text, kernel.name, self._architecture)
        return {
            "ptx_bytes": len(found.ptx),
            "resources": {
                form.lstrip("_") or "plain": found.resources[kernel.name + form]._asdict()
                # A source may hold several kernels.
                for form in ("", STATIC_SUFFIX, PREEMPTIVE_SUFFIX)
                if kernel.name + form in found.resources
            },
        }

    def model(self, name: str, path: Path, program: Program) -> Findings:
        return {}


def measure(folder: Path, settings: Settings, examiner: Examiner, tell: Tell) -> None:
    """Write `records.jsonl`, model after model.

    Raises:
        Unsupported: the compiler is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = suite_header(SUITE, settings.seed) | {
        "target": str(settings.target),
        "device": examiner.device,
        "rounds": settings.rounds,
    }
    with (folder / RECORDS).open("wb") as file:
        file.write(orjson.dumps({"kind": "header"} | header) + b"\n")
        for model in settings.models:
            for line in _lines(model, settings.target, examiner, tell):
                file.write(orjson.dumps(line) + b"\n")
                file.flush()


def _lines(model: str, target: Target, examiner: Examiner, tell: Tell) -> Iterator[dict[str, Any]]:
    cache = UnitCache(cache_folder() / "kernels")

    def told(what: str, done: int, total: int) -> None:
        tell(f"{model}: {what}", done, total)

    path = zoo_path(model)
    program = lower_model(path, target, shapes={}, batch=1, cache=cache, tell=told)
    count = len(program.kernels)
    for number, kernel in enumerate(program.kernels):
        told(kernel.name, number, count)
        made = make_elastic(kernel.source, target.language, {kernel.name: kernel.grid})
        outcome = next(one for one in made.kernels if one.kernel == kernel.name)
        line: dict[str, Any] = {
            "kind": "kernel",
            "model": model,
            "kernel": kernel.name,
            "launches": sum(step.kernel == kernel.name for step in program.steps),
            "grid": kernel.grid,
            "block": kernel.block,
            "launch_shared_bytes": kernel.shared_bytes,
            "rung": outcome.rung.value,
            "reason": outcome.reason,
        }
        try:
            yield {**line, **examiner.kernel(kernel, made.text, outcome.rung, program)}
        except CotenantError as error:
            yield line | {"failure": str(error)}
    told("as a whole", count, count)
    whole: dict[str, Any] = {"kind": "model", "model": model}
    try:
        yield {**whole, **examiner.model(model, path, program)}
    except CotenantError as error:
        yield whole | {"failure": str(error)}
