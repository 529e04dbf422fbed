"""A device and models go in; the time of one inference, here and in other frameworks, comes out.

All contestants of a model are measured in the same rounds, each round in an order drawn anew.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from cotenant.bench.bundles import found_bundle, made_bundle
from cotenant.bench.contestants import Contestant, ours, rivals
from cotenant.bench.header import suite_header
from cotenant.core.errors import CotenantError, Unsupported
from cotenant.core.request import Tensors
from cotenant.device.bundle import Bundle, read_bundle
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.tuner import tune
from cotenant.device.tuning import read_table, write_table
from cotenant.graph.zoo import zoo_path

SUITE = "speed"
RECORDS = "records.jsonl"

_SAMPLE_S = 0.1
_TIMES_MAX = 1000

Tell = Callable[[str, int, int], None]
"""Told what is done, and how much of how much of it is."""


class Settings(NamedTuple):
    """What is measured, and how long."""

    kind: str
    target: str
    models: tuple[str, ...]
    """Names of the zoo."""
    rounds: int
    tuning_rounds: int
    """0 leaves schedules as they are."""
    bundles: Path | None
    """Where the models' bundles are; `None` compiles them."""
    seed: int


def measure(folder: Path, settings: Settings, place: Place, tell: Tell) -> None:
    """Write `records.jsonl`, model after model.

    Raises:
        Unsupported: the compiler is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = suite_header(SUITE, settings.seed) | {
        "target": settings.target,
        "device": place.name,
        "driver": place.here.driver,
        "rounds": settings.rounds,
        "tuning_rounds": settings.tuning_rounds,
    }
    with (folder / RECORDS).open("wb") as file:
        file.write(orjson.dumps({"kind": "header"} | header) + b"\n")
        for model in settings.models:
            file.write(orjson.dumps(_line(model, settings, place, tell)) + b"\n")
            file.flush()


def _line(model: str, settings: Settings, place: Place, tell: Tell) -> dict[str, Any]:
    line: dict[str, Any] = {"kind": "model", "model": model}

    def told(what: str, done: int, total: int) -> None:
        tell(f"{model}: {what}", done, total)

    rng = np.random.default_rng(settings.seed)
    try:
        if settings.bundles is None:
            path = made_bundle(f"zoo:{model}", settings.target, told)
        else:
            path = found_bundle(f"zoo:{model}", settings.bundles, settings.target)
        bundle = read_bundle(path, settings.kind)
        if settings.tuning_rounds:
            _tune(bundle, place, settings.tuning_rounds, rng, told)
        inputs: Tensors = {
            spec.name: rng.standard_normal(spec.shape).astype(spec.dtype)
            for spec in bundle.manifest.inputs
        }
        contestants = [ours(bundle, place, inputs)]
        try:
            contestants += rivals(settings.kind, zoo_path(model), inputs)
        except Unsupported as error:
            line["alone_because"] = str(error)
        return line | {"rounds": list(_rounds(contestants, settings.rounds, rng, told))}
    except CotenantError as error:
        return line | {"failure": str(error)}


def _tune(bundle: Bundle, place: Place, rounds: int, rng: np.random.Generator, tell: Tell) -> None:
    """Choose schedules on this device, unless that has been done."""
    try:
        known = read_table(bundle, place.here)
    except CotenantError:
        known = None
    if known is None:
        write_table(bundle.folder, tune(bundle, place, rounds=rounds, rng=rng, tell=tell))


def _rounds(
    contestants: list[Contestant], rounds: int, rng: np.random.Generator, tell: Tell
) -> Iterator[dict[str, float]]:
    times = {}
    for one in contestants:
        one.run(3)  # a framework may choose its kernels now
        times[one.name] = int(np.clip(np.ceil(_SAMPLE_S / one.mean_s(3)), 1, _TIMES_MAX))
    for number in range(rounds):
        tell("rounds", number, rounds)
        found = {}
        for at in rng.permutation(len(contestants)):
            one = contestants[at]
            found[one.name] = one.mean_s(times[one.name])
        yield found
