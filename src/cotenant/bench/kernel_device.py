"""Kernels and models go in; what running them on a device shows comes out.

Of a kernel: whether its elastic forms agree with the plain one bit by bit, and what they
cost. Of a model: how far it is from ONNX Runtime. What several models share is tried once.
"""

import hashlib
import tempfile
import zlib
from pathlib import Path

import numpy as np
import onnxruntime

from cotenant.bench.bundles import assembler
from cotenant.bench.kernel_trial import Trial
from cotenant.bench.kernels import Findings, Settings
from cotenant.compiler.bundle import write_bundle
from cotenant.compiler.elastic import Rung
from cotenant.compiler.program import Kernel, Program
from cotenant.device.accelerators import open_place
from cotenant.device.bundle import Code, read_bundle
from cotenant.device.elastic.kind import Kind
from cotenant.device.elastic.runner import Runner


class DeviceExaminer:
    """Runs kernels on the first device of a kind."""

    def __init__(self, kind: Kind, settings: Settings) -> None:
        """Open the device.

        Raises:
            DeviceError: there is none.
            Unsupported: its package is not installed.
        """
        self._kind = kind
        self._settings = settings
        self._place = open_place(kind)
        self._assemble = assembler(settings.target)
        self._seen: set[str] = set()

    @property
    def device(self) -> str:
        return self._place.name

    def kernel(self, kernel: Kernel, text: str, rung: Rung, program: Program) -> Findings:
        digest = _digest(kernel)
        if rung is not Rung.PREEMPTIVE or digest in self._seen:
            return {}
        self._seen.add(digest)
        arguments = next(step.arguments for step in program.steps if step.kernel == kernel.name)
        trial = Trial(
            self._place,
            kernel,
            Code(text, self._assemble(text, kernel.name).ptx if self._assemble else None),
            arguments=arguments,
            constants=program.constants,
            sizes_bytes=program.sizes_bytes,
        )
        rng = np.random.default_rng([self._settings.seed, zlib.crc32(kernel.name.encode())])
        return {
            "bit_equal": trial.agrees(rng),
            "rounds": [costs._asdict() for costs in trial.costs(self._settings.rounds, rng)],
        }

    def model(self, name: str, path: Path, program: Program) -> Findings:
        """The largest difference of an output, relative to the largest value of that output."""
        rng = np.random.default_rng(self._settings.seed)
        inputs = {
            spec.name: rng.standard_normal([n or 1 for n in spec.shape]).astype(spec.dtype)
            for spec in program.inputs
        }
        with tempfile.TemporaryDirectory() as folder:
            target = self._settings.target
            write_bundle(program, name, target, Path(folder) / name, self._assemble)
            bundle = read_bundle(Path(folder) / name, self._kind.name)
        found = Runner(bundle, self._place).infer(inputs)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        wanted = dict(zip(names, session.run(names, inputs), strict=True))
        return {
            "relative_error": max(
                float(np.abs(found[one] - value).max() / np.abs(value).max())
                for one, value in wanted.items()
            )
        }


def _digest(kernel: Kernel) -> str:
    """Of what a kernel does, whatever it is called."""
    text = kernel.source.replace(kernel.name, "kernel")
    return hashlib.sha256(f"{kernel.grid} {kernel.block}\n{text}".encode()).hexdigest()
