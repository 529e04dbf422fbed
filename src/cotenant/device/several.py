"""Devices of different kinds go in; one device with the components of all comes out."""

import selectors
from collections.abc import Mapping, Sequence

from cotenant.core.hardware import Component
from cotenant.core.request import Request
from cotenant.core.task import Task
from cotenant.device.base import Allowance, Event, Hardware


class Several:
    """Each call goes to the device that has the component; their events come in one sequence."""

    def __init__(self, *devices: Hardware) -> None:
        self._devices = devices
        self._of_component = {
            component.name: device for device in devices for component in device.components
        }
        self._of_task: dict[str, Hardware] = {}
        self._selector = selectors.EpollSelector()
        for device in devices:
            self._selector.register(device.fileno(), selectors.EVENT_READ, device)

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(component for device in self._devices for component in device.components)

    def fileno(self) -> int:
        return self._selector.fileno()

    def lanes(self) -> dict[str, tuple[int | None, int]]:
        return {task: lane for device in self._devices for task, lane in device.lanes().items()}

    def pauses_s(self) -> Mapping[str, Sequence[float]]:
        return {
            name: pauses_s
            for device in self._devices
            for name, pauses_s in device.pauses_s().items()
        }

    def check(self, task: Task) -> None:
        if task.component is not None:
            self._of_component[task.component].check(task)

    def load(self, task: Task, component: str) -> None:
        self._of_task[task.name] = self._of_component[component]
        self._of_component[component].load(task, component)

    def unload(self, task: str) -> None:
        self._of_task.pop(task).unload(task)

    def launch(self, task: str, requests: Sequence[Request], segment: int) -> None:
        self._of_task[task].launch(task, requests, segment)

    def limit(self, component: str, allowance: Allowance) -> None:
        self._of_component[component].limit(component, allowance)

    def poll(self) -> Sequence[Event]:
        return [event for device in self._devices for event in device.poll()]

    def close(self) -> None:
        self._selector.close()
        for device in self._devices:
            device.close()
