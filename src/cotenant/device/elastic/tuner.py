"""A bundle and a device go in; its tuning table comes out, measured on that device.

The model is run step by step, so that each kernel is tried on values that it may meet. All
schedules of a kernel are measured in the same rounds, each round in an order drawn anew: alone
by the device's own times, then beside a background load, from submission to the end. A
variant whose results differ from the default's is refused before.

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
from cotenant.device.elastic.driver import Buffer, Event, wait_for
from cotenant.device.elastic.launch import Forms, launch_plain, launch_static
from cotenant.device.elastic.place import Place
from cotenant.device.elastic.resident import Resident, Step, built
from cotenant.device.tuning import DEFAULT, Table, Times, Tuned, Width

_SAMPLE_S = 2e-3
"""Shorter kernels are launched several times for one sample."""
_LAUNCHES_MAX = 32
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
    inputs = {spec.name: _drawn(spec, rng) for spec in resident.inputs}
    wait_for(resident.feed(place.queue, inputs))
    count = len({step.name for step in resident.steps})
    found: dict[str, Tuned] = {}
    for step in resident.steps:
        if step.name not in found:
            tell(step.name, len(found), count)
            tried = _tried(bundle, place, step)
            found[step.name] = _measured(place, step, tried, background, (rounds, rng))
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
        alone = _ratios(one.alone_s, default.alone_s)
        beside = _ratios(one.beside_s, default.beside_s)
        wins = sum(each < 1 for each in beside) / len(beside)
        middle = statistics.median(beside)
        if statistics.median(alone) <= _SLOWER_ALONE_MAX and middle < _BETTER and wins >= _WINS_MIN:
            ratio[name] = middle
    return min(ratio, key=lambda name: (ratio[name], name), default=DEFAULT)


def _ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a / max(b, 1e-12) for a, b in zip(one, other, strict=True)]


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
    background: Background,
    draws: tuple[int, np.random.Generator],
) -> Tuned:
    rounds, rng = draws
    names, arguments = list(tried.schedules), step.arguments

    def plain(name: str) -> Callable[[], Event]:
        return lambda: launch_plain(place, tried.schedules[name], arguments)

    launches = {name: _launches(plain(name)) for name in names}
    found = {name: Samples([], []) for name in names}
    for _ in range(rounds):
        for number in rng.permutation(len(names)):
            name = names[number]
            found[name].alone_s.append(_alone_s(place, plain(name), launches[name]))
        with background:
            for number in rng.permutation(len(names)):
                name = names[number]
                found[name].beside_s.append(_beside_s(place, plain(name), launches[name]))
    schedules = {
        name: Times(
            alone_s=statistics.median(one.alone_s), beside_s=statistics.median(one.beside_s)
        )
        for name, one in found.items()
    }
    chosen = choose(found)
    widths = _widths(place, tried.schedules[chosen], arguments, rounds, rng)
    return Tuned(
        chosen=chosen, schedules=schedules, refused=dict(tried.refused), widths=tuple(widths)
    )


def _widths(
    place: Place,
    kernel: Forms,
    arguments: Sequence[Buffer],
    rounds: int,
    rng: np.random.Generator,
) -> list[Width]:
    """What the static form costs on 1, 2, 4, ... blocks, up to what fills the device."""
    if kernel.static is None:
        return []
    most = min(place.width, kernel.tiles)
    widths = [*(1 << n for n in range(most.bit_length()) if 1 << n < most), most]

    def narrow(width: int) -> Callable[[], Event]:
        return lambda: launch_static(place, kernel, arguments, range(kernel.tiles), width)

    launches = {width: _launches(narrow(width)) for width in widths}
    times_s: dict[int, list[float]] = {width: [] for width in widths}
    for _ in range(rounds):
        for number in rng.permutation(len(widths)):
            width = widths[number]
            times_s[width].append(_alone_s(place, narrow(width), launches[width]))
    return [Width(width=each, static_s=statistics.median(times_s[each])) for each in widths]


def _launches(launch: Callable[[], Event]) -> int:
    """How many make a sample; the first ones are warm-up, and a driver may compile there."""
    launch().wait()
    event = launch()
    event.wait()
    once_s = event.lasted_s
    return int(np.clip(np.ceil(_SAMPLE_S / max(once_s, 1e-9)), 1, _LAUNCHES_MAX))


def _alone_s(place: Place, launch: Callable[[], Event], launches: int) -> float:
    """Mean time on the device of one launch."""
    events = [launch() for _ in range(launches)]
    place.queue.finish()
    return sum(one.lasted_s for one in events) / launches


def _beside_s(place: Place, launch: Callable[[], Event], launches: int) -> float:
    """Mean time that one launch takes of the queue, waiting for its turn included."""
    events = [launch() for _ in range(launches)]
    place.queue.finish()
    return events[-1].since_s(events[0]) / launches


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
