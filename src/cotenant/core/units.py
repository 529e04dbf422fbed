"""Values as people write them ("40ms", "20/s", "64MiB") become SI floats, and back.

The annotated types `Seconds`, `PerSecond` and `Bytes` do this inside pydantic models.
"""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_NUMBER = r"([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
_DURATION = re.compile(rf"^{_NUMBER}\s*(ns|us|µs|ms|s|min|h)$")
_RATE = re.compile(rf"^{_NUMBER}\s*(?:/\s*(s|min|h)|(Hz|kHz|fps))$")
_SIZE = re.compile(rf"^{_NUMBER}\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)$")

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_HERTZ = {"Hz": 1.0, "kHz": 1e3, "fps": 1.0}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


def parse_duration(text: object) -> float:
    """A duration in seconds.

    >>> parse_duration("40ms"), parse_duration("1.5 s"), parse_duration("2min")
    (0.04, 1.5, 120.0)
    >>> parse_duration("40")
    Traceback (most recent call last):
    ValueError: '40' is not a duration; write a number and a unit, such as '40ms', '1.5s' or '2min'
    """
    match = _DURATION.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration; write a number and a unit, "
            "such as '40ms', '1.5s' or '2min'"
        )
    return _finite(float(match[1]) * _SECONDS[match[2]], text)


def parse_rate(text: object) -> float:
    """A rate in events per second.

    >>> parse_rate("20/s"), parse_rate("30fps"), parse_rate("90/min")
    (20.0, 30.0, 1.5)
    """
    match = _RATE.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(
            f"{text!r} is not a rate; write a number per time, such as '20/s', '90/min' or '30fps'"
        )
    per_s = 1.0 / _SECONDS[match[2]] if match[2] else _HERTZ[match[3]]
    return _finite(float(match[1]) * per_s, text)


def parse_size(text: object) -> int:
    """A size in bytes.

    >>> parse_size("64MiB"), parse_size("2 kB")
    (67108864, 2000)
    """
    match = _SIZE.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a size; write a number and a unit, such as '64MiB'")
    return int(_finite(float(match[1]) * _BYTES[match[2]], text))


def format_duration(value_s: float) -> str:
    """A duration as people read it.

    >>> format_duration(0.04), format_duration(1.5), format_duration(2.5e-5)
    ('40 ms', '1.5 s', '25 us')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if abs(value_s) >= scale:
            return f"{value_s / scale:.3g} {unit}"
    return f"{value_s / 1e-9:.3g} ns" if value_s else "0 s"


def format_bytes(value: float) -> str:
    """A size as people read it.

    >>> format_bytes(67108864)
    '64 MiB'
    """
    for unit in ("GiB", "MiB", "KiB"):
        if value >= _BYTES[unit]:
            return f"{value / _BYTES[unit]:.3g} {unit}"
    return f"{value:.0f} B"


def _finite(value: float, text: object) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large to be meant")
    return value


def _duration_field(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else _bare(value, "40ms")


def _rate_field(value: object) -> object:
    return parse_rate(value) if isinstance(value, str) else _bare(value, "20/s")


def _size_field(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _bare(value: object, example: str) -> object:
    # Floats come from our own code and from JSON that we wrote, in SI units;
    # a bare integer in a hand-written file is more likely a forgotten unit.
    if isinstance(value, int) and not isinstance(value, bool) and value != 0:
        raise ValueError(f"{value} has no unit; write it like {example!r}")
    return value


Seconds = Annotated[
    float,
    BeforeValidator(_duration_field),
    WithJsonSchema({"type": "string", "examples": ["40ms", "1.5s", "2min"]}),
]
PerSecond = Annotated[
    float,
    BeforeValidator(_rate_field),
    WithJsonSchema({"type": "string", "examples": ["20/s", "90/min", "30fps"]}),
]
Bytes = Annotated[
    int,
    BeforeValidator(_size_field),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["64MiB", 1048576]}),
]
