"""The windows of one mix go in; those in which the machine was as in the others come out.

A machine that others share now and then lacks a core for a minute, and what is to be judged is the
forecast. The services of critical tasks tell, since nothing interrupts them (those of best-effort
tasks contain what they were held back, which is luck of arrivals): a window in which they took
much longer, or much shorter, than in the median window does not count. What was forecast, and the
latencies, are never looked at.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cotenant.bench.records import Phase
from cotenant.core.task import Criticality

WINDOWS = 3
"""Of a mix. Of two that differ nobody could say which one saw the usual machine."""
LIMIT = 0.15
"""How far services may be off those of the median window, as a fraction."""


def steady(
    windows: Sequence[Phase], tasks: Iterable[Mapping[str, str]], limit: float = LIMIT
) -> tuple[Phase, ...]:
    """The windows that count: all of them, where the server keeps no count of services.

    Args:
        windows: of one mix under one policy.
        tasks: of the mix, each with its `name` and its `criticality`.
    """
    critical = [task["name"] for task in tasks if task["criticality"] == Criticality.CRITICAL.value]
    known = [name for name in critical if all(name in one.service_s for one in windows)]
    if not known or not windows:
        return tuple(windows)
    took_s = np.log([[one.service_s[name] for name in known] for one in windows])
    slower = np.median(took_s - np.median(took_s, axis=0), axis=1)
    return tuple(
        one for one, off in zip(windows, np.expm1(slower), strict=True) if abs(off) <= limit
    )
