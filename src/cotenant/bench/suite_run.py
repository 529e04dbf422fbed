"""A suite's workloads go in, on the component that was chosen; plans that can be run come out.

On an elastic component models become bundles, rates become what the device can bear, and
where the servers of all policies do not fit into memory together, they run one at a time.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cotenant.bench.cores import Cores
from cotenant.bench.header import mixed_header
from cotenant.bench.load import LoadGenerator
from cotenant.bench.mixed import OWN_POLICY, Settings
from cotenant.bench.rates import (
    RateScale,
    check_due,
    factor_for,
    measured_alone,
    open_loop,
    scaled,
)
from cotenant.bench.scenarios import POLICIES, Scenario
from cotenant.bench.servers import SERVE, Server
from cotenant.bench.suites import REFERENCE, Suite
from cotenant.bench.tiles import tile_times
from cotenant.core.errors import DeviceError
from cotenant.core.hardware import machine_fingerprint
from cotenant.core.workload import ComponentSpec, Workload
from cotenant.device.accelerators import KINDS
from cotenant.device.cuda.kind import CUDA
from cotenant.device.elastic.find import find_devices
from cotenant.device.opencl.kind import OPENCL
from cotenant.graph.load import resolve_model

EPSILONS = (0.0, 0.2)
"""Of the own policy, beside its default, for the curve in the picture."""
_ELASTIC_POLICIES = (
    REFERENCE,
    "multi-stream",
    "inter-stream-barrier",
    "miriam",
    "reef",
    "orion",
)
_COPIES = 3
"""How often a server holds a model's weights: as read, on the device, and in passing."""
_LANE_BYTES = 150 * 2**20
_MEMORY_SHARE = 0.6


class Place(NamedTuple):
    """The component that a suite runs on."""

    kind: str
    """'cpu', 'opencl' or 'cuda'."""
    device: str
    """Its name, for the report."""
    target: str | None = None
    """What models are compiled for; `None` where they run as they are."""
    memory_bytes: int | None = None
    """Of a device with its own; edge devices of OpenCL mostly have the machine's."""


class Skipped(NamedTuple):
    """A workload that could not be run."""

    name: str
    reason: str


class Plan(NamedTuple):
    """One workload, ready to be run."""

    scenario: Scenario
    scale: RateScale
    together: bool
    """Whether the servers of all policies are up at the same time."""
    tile_p99_s: float | None
    """Of the best-effort model with the longest tiles; `None` where nothing is made of tiles."""


def choose_place(asked: str | None) -> Place:
    """The component of that kind; where none is asked for, the first of cuda, opencl and cpu.

    Raises:
        DeviceError: an accelerator is asked for, and there is none.
    """
    for kind in (CUDA, OPENCL) if asked is None else (KINDS[asked],) if asked in KINDS else ():
        try:
            found = find_devices(kind)
        except DeviceError:
            if asked is not None:
                raise
            continue
        if found:
            first = found[0]
            own_bytes = first.memory_bytes if kind is CUDA else None
            return Place(kind.name, first.name, first.target, own_bytes)
        if asked is not None:
            raise DeviceError(
                f"there is no {kind.title} device; {kind.remedy}; or measure with --component cpu"
            )
    return Place("cpu", str(machine_fingerprint()["processor"]))


def policies_on(place: Place, epsilons: Iterable[float] = EPSILONS) -> tuple[str, ...]:
    """Everything that can be compared there; what decides by kernel needs an elastic component."""
    if place.kind == "cpu":
        return POLICIES
    return (OWN_POLICY, *(f"{OWN_POLICY}@{one:g}" for one in epsilons), *_ELASTIC_POLICIES)


def placed(scenario: Scenario, place: Place, bundles: Mapping[str, Path]) -> Scenario:
    """The same workload on the component, with bundles in place of models where it needs them."""
    if place.kind == "cpu":
        return scenario
    tasks = tuple(
        task.model_copy(update={"model": str(bundles[task.model])})
        for task in scenario.workload.tasks
    )
    component = ComponentSpec.model_validate({"name": place.kind, "kind": place.kind})
    update = {"tasks": tasks, "components": (component,)}
    return scenario._replace(workload=scenario.workload.model_copy(update=update))


def planned(
    scenario: Scenario,
    rate_scale: float | None,
    generator: LoadGenerator,
    *,
    folder: Path,
    seed: int,
    seconds_s: float,
    memory_bytes: int | None = None,
    program: Sequence[str] = SERVE,
) -> Plan:
    """Settle the rates of a placed workload, how many servers run at a time, and time tiles.

    Args:
        rate_scale: factor on the published rates; measured where absent.
        seconds_s: that a phase will count.
        memory_bytes: of the device, where it has its own.

    Raises:
        CotenantError: a server does not come up, or phases are too short to see anything.
    """
    scale = RateScale(1.0 if rate_scale is None else rate_scale, {})
    if rate_scale is None and open_loop(scenario):
        with Server(scenario.workload, OWN_POLICY, folder, program) as server:
            server.wait_ready()
            alone_s = measured_alone(scenario, server, generator, seed)
        scale = RateScale(factor_for(scenario, alone_s), alone_s)
    slowed = scaled(scenario, scale.factor)
    check_due(slowed, seconds_s)
    available_bytes = _available_bytes()
    if memory_bytes is not None:
        available_bytes = min(available_bytes, memory_bytes)
    together = needed_bytes(scenario) <= _MEMORY_SHARE * available_bytes
    return Plan(slowed, scale, together, _tile_p99_s(scenario.workload))


def needed_bytes(scenario: Scenario) -> int:
    """Memory that the servers of all its policies would take together, roughly."""
    one = sum(
        _COPIES * _size_bytes(resolve_model(task.model)) + _LANE_BYTES
        for task in scenario.workload.tasks
    )
    return one * len({OWN_POLICY, *scenario.policies})


def suite_header_of(
    suite: Suite,
    place: Place,
    plans: Sequence[Plan],
    skipped: Sequence[Skipped],
    *,
    settings: Settings,
    standing: str,
    cores: Cores,
) -> dict[str, Any]:
    """First line of the records."""
    header = mixed_header(tuple(plan.scenario for plan in plans), settings, standing, cores)
    for described, plan in zip(header["scenarios"], plans, strict=True):
        described["rate_scale"] = plan.scale._asdict()
        described["together"] = plan.together
        described["tile_p99_s"] = plan.tile_p99_s
    return header | {
        "suite": suite.name,
        "component": place._asdict(),
        "skipped": [one._asdict() for one in skipped],
    }


def _tile_p99_s(workload: Workload) -> float | None:
    kinds = {component.kind for component in workload.components} & KINDS.keys()
    best_effort = {task.model for task in workload.tasks if not task.critical}
    return max(
        (tile_times(kind, Path(model)).p99_s for kind in kinds for model in best_effort),
        default=None,
    )


def _size_bytes(path: Path) -> int:
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size


def _available_bytes() -> int:
    with open("/proc/meminfo", encoding="ascii") as told:
        for line in told:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0
