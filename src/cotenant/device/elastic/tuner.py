"""A bundle and a device go in; its tuning table comes out, measured on that device.

The model is run step by step, so that each kernel is tried on values that it may meet. All
schedules of a kernel are measured in the same rounds, each round in an order drawn anew: alone
by the device's own times, then beside a background load, from submission to the end. A
variant whose results differ from the default's is refused before. Of the one that is chosen, the
static form is measured at several widths, with what it costs a neighbour (`padding.py`).

Chosen is what is fastest beside the load, since that is where schedules differ in what they
take from others (Aaron, SenSys'22). The default stays unless another is clearly better, and a
schedule that is clearly slower alone than the default is never chosen: critical kernels mostly
run alone.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cotenant import __version__
from cotenant.core.errors import DeviceError
from cotenant.device.bundle import Array, Bundle, Tensor
from cotenant.device.elastic.background import Background
from cotenant.device.elastic.driver import Buffer, wait_for
from cotenant.device.elastic.launch import Forms, launch_plain
from cotenant.device.elastic.padding import Neighbour, padded_widths
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.resident import Resident, Step, built
from cotenant.device.elastic.sampling import (
    Launch,
    alone_s,
    beside_s,
    launches_for,
    once_s,
    ratios,
)
from cotenant.device.tuning import DEFAULT, Table, Times, Tuned

_BETTER = 0.97
"""Part of the default's time beside the load that a variant has to keep below..."""
_WINS_MIN = 0.75
"""... and in what part of the rounds it has to be faster."""
_SLOWER_ALONE_MAX = 1.1
_TOLERANCE = 1e-5
"""Of the largest value: another order of additions, or a fused multiplication, rounds otherwise."""

Tell = Callable[[str, int, int], None]
"""Told which kernel is measured, how many are done, and how many there are."""


class Samples(NamedTuple):
    """Times of one schedule, in the order of the rounds."""

    alone_s: list[float]
    beside_s: list[float]


class _Tried(NamedTuple):
    schedules: Mapping[str, Forms]
    refused: Mapping[str, str]


class _Beside(NamedTuple):
    """What kernels are measured beside."""

    background: Background
    neighbour: Neighbour


def tune(
    bundle: Bundle, place: Place, *, rounds: int, rng: np.random.Generator, tell: Tell
) -> Table:
    """Measure every kernel of a bundle.

    Raises:
        DeviceError: the device cannot run the bundle at all.
    """
    place = place._replace(queue=place.device.queue(timed=True))
    resident = Resident(bundle, place, chosen={})
    background = Background(place)
    others = _Beside(background, Neighbour(place, background))
    inputs = {spec.name: _drawn(spec, rng) for spec in resident.inputs}
    wait_for(resident.feed(place.queue, inputs))
    count = len({step.name for step in resident.steps})
    found: dict[str, Tuned] = {}
    for step in resident.steps:
        if step.name not in found:
            tell(step.name, len(found), count)
            tried = _tried(bundle, place, step)
            found[step.name] = _measured(place, step, tried, others, (rounds, rng))
        launch_plain(place, step.kernel, step.arguments).wait()
    tell("done", count, count)
    return Table(
        cotenant=__version__,
        bundle_sha256=bundle.sha256,
        device=place.here.device,
        driver=place.here.driver,
        rounds=rounds,
        background_s=background.once_s,
        kernels=found,
    )


def choose(found: Mapping[str, Samples]) -> str:
    """The fastest beside the load, unless the default is about as good, or far better alone.

    A schedule is compared with the default round by round, since what disturbs one of them
    disturbs the other: better in the middle of all rounds, and in three of four of them.

    >>> default = Samples(alone_s=[1.0, 1.0], beside_s=[2.0, 9.0])
    >>> choose({"default": default, "a": Samples(alone_s=[1.0, 1.1], beside_s=[1.5, 6.0])})
    'a'
    >>> choose({"default": default, "a": Samples(alone_s=[1.5, 1.5], beside_s=[1.5, 6.0])})
    'default'
    """
    default = found[DEFAULT]
    ratio: dict[str, float] = {}
    for name, one in found.items():
        alone = ratios(one.alone_s, default.alone_s)
        beside = ratios(one.beside_s, default.beside_s)
        wins = sum(each < 1 for each in beside) / len(beside)
        middle = statistics.median(beside)
        if statistics.median(alone) <= _SLOWER_ALONE_MAX and middle < _BETTER and wins >= _WINS_MIN:
            ratio[name] = middle
    return min(ratio, key=lambda name: (ratio[name], name), default=DEFAULT)


def _tried(bundle: Bundle, place: Place, step: Step) -> _Tried:
    """All schedules of a step's kernel that build and give the default's results."""
    schedules, refused = {DEFAULT: step.kernel}, dict[str, str]()
    before = _contents(place, step.arguments)
    launch_plain(place, step.kernel, step.arguments).wait()
    wanted = _contents(place, step.arguments)
    for name, about in bundle.manifest.kernels[step.name].variants.items():
        try:
            made = built(place, bundle.code(step.name, name), step.name, about)
            _restore(place, step.arguments, before)
            launch_plain(place, made, step.arguments).wait()
        except DeviceError as error:
            refused[name] = str(error)[:500]
            continue
        if _differ(_contents(place, step.arguments), wanted):
            refused[name] = "its results differ from the default's"
        else:
            schedules[name] = made
    _restore(place, step.arguments, before)
    return _Tried(schedules, refused)


def _measured(
    place: Place,
    step: Step,
    tried: _Tried,
    others: _Beside,
    draws: tuple[int, np.random.Generator],
) -> Tuned:
    rounds, rng = draws
    names, arguments = list(tried.schedules), step.arguments

    def plain(name: str) -> Launch:
        return lambda: launch_plain(place, tried.schedules[name], arguments)

    launches = {name: launches_for(once_s(plain(name))) for name in names}
    found = {name: Samples([], []) for name in names}
    for _ in range(rounds):
        for number in rng.permutation(len(names)):
            name = names[number]
            found[name].alone_s.append(alone_s(place.queue, plain(name), launches[name]))
        with others.background:
            for number in rng.permutation(len(names)):
                name = names[number]
                found[name].beside_s.append(beside_s(place.queue, plain(name), launches[name]))
    schedules = {
        name: Times(
            alone_s=statistics.median(one.alone_s), beside_s=statistics.median(one.beside_s)
        )
        for name, one in found.items()
    }
    chosen = choose(found)
    widths = padded_widths(place, tried.schedules[chosen], arguments, others.neighbour, draws)
    return Tuned(chosen=chosen, schedules=schedules, refused=dict(tried.refused), widths=widths)


def _drawn(spec: Tensor, rng: np.random.Generator) -> Array:
    """Values of an input; whole numbers may be indices, and 0 always is one."""
    if np.issubdtype(np.dtype(spec.dtype), np.floating):
        return rng.standard_normal(spec.shape).astype(spec.dtype)
    return np.zeros(spec.shape, spec.dtype)


def _contents(place: Place, arguments: Sequence[Buffer]) -> list[Array]:
    found: list[Array] = []
    for buffer in arguments:
        content = np.empty(buffer.size, np.uint8)
        place.queue.read(buffer, content)
        found.append(content)
    return found


def _restore(place: Place, arguments: Sequence[Buffer], contents: Sequence[Array]) -> None:
    for buffer, content in zip(arguments, contents, strict=True):
        if not buffer.constant:  # weights stay as they are
            place.queue.write(buffer, content)


def _differ(found: Sequence[Array], wanted: Sequence[Array]) -> bool:
    for one, other in zip(found, wanted, strict=True):
        if one.tobytes() == other.tobytes():
            continue
        if one.nbytes % 4:
            return True
        a, b = one.view(np.float32), other.view(np.float32)
        largest = np.abs(b, where=np.isfinite(b), out=np.zeros_like(b)).max()
        if not np.allclose(a, b, rtol=0, atol=_TOLERANCE * largest, equal_nan=True):
            return True
    return False
