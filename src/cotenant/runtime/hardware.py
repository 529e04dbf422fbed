"""The components of a workload go in; the device that has them, and where tasks go, comes out."""

from collections.abc import Sequence
from pathlib import Path

from cotenant.core.errors import WorkloadError
from cotenant.core.hardware import Component, allowed_cores
from cotenant.core.task import Task
from cotenant.core.workload import ComponentSpec
from cotenant.device.accelerators import KINDS
from cotenant.device.base import Hardware
from cotenant.device.bundle import bundle_kind
from cotenant.device.contents import is_bundle
from cotenant.device.cpu.device import CpuDevice
from cotenant.device.cpu.scheduling import Rung
from cotenant.device.elastic.device import ElasticDevice
from cotenant.device.several import Several
from cotenant.graph.paths import model_files_apart
from cotenant.policy.base import Policy


def open_hardware(specs: Sequence[ComponentSpec], policy: Policy, rung: Rung) -> Hardware:
    """One device for all components; all cores are one where none is named.

    Raises:
        DeviceError: a component's device is not there, or cannot be asked.
    """
    cores = {one.name: one.cores for one in specs if one.kind == "cpu"}
    devices: list[Hardware] = []
    for kind in KINDS.values():  # first: they may refuse
        numbers = {one.name: one.device or 0 for one in specs if one.kind == kind.name}
        if numbers:
            devices.append(ElasticDevice(kind, numbers, policy.sharing, rung, policy.isolation))
    if cores or not specs:
        devices.append(
            CpuDevice(
                cores or {"cpu": allowed_cores()},
                model_files_apart,
                rung,
                policy.isolation,
                policy.spinning,
            )
        )
    return devices[0] if len(devices) == 1 else Several(*devices)


def housed(task: Task, components: Sequence[Component]) -> Task:
    """The task with a component: the one that it names, or the first that runs its model.

    Raises:
        WorkloadError: it needs a kind of component that this machine does not have.
    """
    if task.component is not None:
        return task
    path = Path(task.model).expanduser()
    # What a damaged bundle is for is not known; who loads it says so better.
    wanted: Sequence[str] = ("cpu",)
    if is_bundle(path):
        wanted = [kind for kind in KINDS if kind == bundle_kind(path)] or list(KINDS)
    for component in components:
        if component.kind in wanted:
            return task.model_copy(update={"component": component.name})
    if "cpu" not in wanted:
        raise WorkloadError(
            f"task {task.name!r}: {task.model!r} is a bundle, which no component here runs; write "
            f"components: [{{name: gpu0, kind: {wanted[0]}, device: 0}}]"
        )
    kind = components[0].kind
    raise WorkloadError(
        f"task {task.name!r}: {task.model!r} is no bundle, and all components here are of kind "
        f"{kind}; run: cotenant compile {task.model} --target {KINDS[kind].target} "
        f"-o {task.name}.bundle, or add a component of kind: cpu"
    )
