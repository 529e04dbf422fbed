"""Settings of a suite go in, the first line of its records comes out: what a rerun needs."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cotenant import __version__
from cotenant.bench.cores import Cores, shared_out
from cotenant.bench.mixed import Settings
from cotenant.bench.scenarios import Scenario
from cotenant.core.hardware import machine_fingerprint

_LIBRARIES = (
    *("numpy", "onnx", "onnxruntime", "grpcio", "httptools", "uvloop"),
    *("apache-tvm", "pyopencl", "pocl-binary-distribution"),
    *("nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc", "cuda-bindings", "torch"),
)


def versions() -> dict[str, str]:
    """Versions of everything that has a part in the figures."""
    found = {"cotenant": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def suite_header(suite: str, seed: int) -> dict[str, Any]:
    """What every suite writes first."""
    return {
        "suite": suite,
        "machine": machine_fingerprint(),
        "versions": versions(),
        "seed": seed,
        "command": sys.argv,
        "clock": "CLOCK_MONOTONIC",
    }


def mixed_header(
    scenarios: tuple[Scenario, ...], settings: Settings, standing: str, cores: Cores | None = None
) -> dict[str, Any]:
    """Header of the suite `mixed`."""
    return suite_header("mixed", settings.seed) | {
        "rounds": settings.rounds,
        "seconds_s": settings.seconds_s,
        "warm_up_s": settings.warm_up_s,
        "generator": standing,
        "cores": (cores or shared_out())._asdict(),
        "scenarios": [_described(scenario) for scenario in scenarios],
    }


def _described(scenario: Scenario) -> dict[str, Any]:
    return {
        "name": scenario.name,
        "policies": list(scenario.policies),
        "overload": scenario.overload,
        "kills": scenario.kills,
        "tasks": [
            task.model_dump(
                mode="json", include={"name", "model", "criticality", "slo", "arrivals"}
            )
            for task in scenario.workload.tasks
        ],
    }
