"""Expected arrivals and a generator of random numbers go in, times to send at come out.

For a measurement the whole schedule is drawn before the first request leaves, so that
nothing the server does can move it: that is what keeps coordinated omission out of it. A
simulation cannot be late, and draws its times block by block as it needs them.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cotenant.core.errors import WorkloadError
from cotenant.core.task import ClosedLoop, Periodic, Poisson, Trace

Times = npt.NDArray[np.float64]

_BLOCKS = (64, 512, 4096)
"""Numbers drawn at once in an endless sequence: the first ones, and from the last one on always."""


def draw_arrivals(
    arrivals: Periodic | Poisson | Trace, horizon_s: float, rng: np.random.Generator
) -> Times:
    """Sorted times in [0, horizon_s) at which a request of an open-loop task is due.

    Periodic arrivals start at a random point of their period, so that two tasks of one rate
    do not always meet. A trace that is shorter than the horizon is played again.

    >>> draw_arrivals(Poisson(kind="poisson", rate_rps=5.0), 0.0, np.random.default_rng(1)).size
    0
    """
    match arrivals:
        case Periodic(rate_rps=rate_rps):
            period_s = 1.0 / rate_rps
            first_s = rng.uniform(0.0, period_s)
            times_s = first_s + period_s * np.arange(int(horizon_s / period_s) + 1.0)
        case Poisson(rate_rps=rate_rps):
            times_s = _poisson(rate_rps, horizon_s, rng)
        case Trace(path=path):
            times_s = _repeated(read_trace(path), horizon_s)
    return times_s[times_s < horizon_s]


def endless_arrivals(
    arrivals: Periodic | Poisson | Trace, rng: np.random.Generator
) -> Iterator[float]:
    """Times from 0 on, without end, at which a request of an open-loop task arrives.

    >>> four = Periodic(kind="periodic", rate_rps=4.0)
    >>> times_s = endless_arrivals(four, np.random.default_rng(1))
    >>> first_s = next(times_s)
    >>> [next(times_s) - first_s for _ in range(3)]
    [0.25, 0.5, 0.75]
    """
    return itertools.chain.from_iterable(
        block_s.tolist() for block_s in _endless_blocks(arrivals, rng)
    )


def block_sizes() -> Iterator[int]:
    """How many random numbers to draw at once, without end: few for a task that is seldom asked.

    >>> list(itertools.islice(block_sizes(), 4))
    [64, 512, 4096, 4096]
    """
    return itertools.chain(_BLOCKS, itertools.repeat(_BLOCKS[-1]))


def mean_rate_rps(arrivals: Periodic | Poisson | ClosedLoop | Trace | None) -> float | None:
    """The rate that a task offers, or `None` where the server's own speed decides it."""
    match arrivals:
        case Periodic(rate_rps=rate_rps) | Poisson(rate_rps=rate_rps):
            return rate_rps
        case Trace(path=path):
            times_s = read_trace(path)
            return float(times_s.size / _length_s(times_s))
        case _:
            return None


def read_trace(path: Path) -> Times:
    """Arrival times of a trace file: seconds, one per line, not decreasing.

    Raises:
        WorkloadError: with file, line and remedy.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(f"cannot read trace file {str(path)!r}: {error}") from error
    times_s: list[float] = []
    for number, line in enumerate(lines, start=1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        try:
            time_s = float(text)
        except ValueError:
            raise WorkloadError(
                f"{path}:{number}: {text!r} is not a time; write seconds from the start"
            ) from None
        if not np.isfinite(time_s) or time_s < (times_s[-1] if times_s else 0.0):
            raise WorkloadError(
                f"{path}:{number}: {text} comes before the line above it or before 0; sort the file"
            )
        times_s.append(time_s)
    if not times_s:
        raise WorkloadError(f"{path}: a trace needs at least one arrival time")
    return np.array(times_s)


def _endless_blocks(
    arrivals: Periodic | Poisson | Trace, rng: np.random.Generator
) -> Iterator[Times]:
    match arrivals:
        case Periodic(rate_rps=rate_rps):
            first_s = rng.uniform(0.0, 1.0 / rate_rps)
            start = 0
            for size in block_sizes():
                yield first_s + np.arange(start, start + size) / rate_rps
                start += size
        case Poisson(rate_rps=rate_rps):
            last_s = 0.0
            for size in block_sizes():
                block_s = last_s + np.cumsum(rng.exponential(1.0 / rate_rps, size))
                last_s = float(block_s[-1])
                yield block_s
        case Trace(path=path):
            times_s = read_trace(path)
            for again in itertools.count():
                yield times_s + again * _length_s(times_s)


def _poisson(rate_rps: float, horizon_s: float, rng: np.random.Generator) -> Times:
    # Given their number, the arrivals of a Poisson stream are independent and uniform.
    count = rng.poisson(rate_rps * horizon_s)
    return np.sort(rng.uniform(0.0, horizon_s, count))


def _repeated(times_s: Times, horizon_s: float) -> Times:
    length_s = _length_s(times_s)
    rounds = int(horizon_s / length_s) + 1
    starts_s = length_s * np.arange(rounds)
    repeated: Times = (starts_s[:, None] + times_s[None, :]).ravel()
    return repeated


def _length_s(times_s: Times) -> float:
    """Where a trace starts again: one mean gap after its last arrival."""
    last_s = float(times_s[-1])
    return last_s + (last_s / (times_s.size - 1) if times_s.size > 1 and last_s > 0 else 1.0)
