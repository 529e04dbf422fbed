"""Loads and launches of a test go in, the events of a device come out."""

import select
from pathlib import Path
from typing import Any

import numpy as np

from cotenant.core.request import Request
from cotenant.core.task import Task
from cotenant.device.base import Completed, Event, Hardware


def following(device: Hardware, count: int) -> list[Event]:
    """The next events, waiting for each as an event loop would."""
    events: list[Event] = []
    while len(events) < count:
        ready, _, _ = select.select([device.fileno()], [], [], 60)
        assert ready, f"the device fell silent after {events}"
        events += device.poll()
    return events


def load(device: Hardware, model: Path, name: str, component: str = "gpu0", **about: Any) -> Event:
    device.load(Task(name=name, model=str(model), **about), component)
    (event,) = following(device, 1)
    return event


def launch(device: Hardware, name: str, x: np.ndarray) -> None:
    device.launch(name, [Request(1, name, 0.0, inputs={"x": x})], 0)


def output(event: Event) -> np.ndarray:
    assert isinstance(event, Completed), event
    assert event.end_s >= event.start_s
    assert event.outputs is not None
    return event.outputs[0]["y"]


def random_words(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, count, np.uint32)
