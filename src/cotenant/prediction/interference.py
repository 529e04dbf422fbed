"""A measured pair goes in; what the one costs the other beyond sharing the cores comes out.

The excess is a slowdown less one, for each unit of time that the other one runs. What sharing
explains is taken out of what was measured, with b the busy fraction of the other one:

| the one | beside | sharing explains |
| --- | --- | --- |
| critical | best-effort | nothing: it takes the cores away |
| best-effort | best-effort | 1 + b: half the machine while the other one runs; under policy \
`concurrent` so for every pair |
| best-effort | critical | 1 / (1 - b): it stands still; b contains the time at the front, too |

In company no core sleeps, so best-effort work is compared with its service time back to back.
Critical work rests between its requests whatever its company does: it is compared with its
service time in the mix.
"""

import numpy as np

from cotenant.core.task import Criticality
from cotenant.profiling.profile import Beside, Profile

_MOST = 1.0
"""Being interrupted costs no more than as long again as the interruption itself."""
_LEAST = -0.9


def excess_of(pair: Beside, profile: Profile, warm: float = 1.0) -> float:
    """Of the pair's first one, for each unit of time that the second one runs.

    Args:
        warm: service time of the first one in the mix over that alone with pauses.
    """
    own, other = pair.subject.criticality, pair.other.criticality
    alike = profile.policy == "concurrent" or own is other
    if not alike and own is Criticality.BEST_EFFORT:
        same = [_interruption(one, profile) for one in profile.interruptions_of(pair.subject)]
        return min(_MOST, max(0.0, float(np.median(same))))
    if pair.busy <= 0.0:
        return 0.0
    explained = 1.0 + pair.busy if alike else 1.0
    rests = not alike and own is Criticality.CRITICAL
    slowdown = pair.slowdown / (warm if rests else profile.warm_of(pair.subject))
    return max(_LEAST, (slowdown / explained - 1.0) / pair.busy)


def _interruption(pair: Beside, profile: Profile) -> float:
    known = next((one for one in profile.alone if one.subject == pair.other), None)
    front = 0.0 if known is None else known.overhead_s / known.service.mean_s
    busy = min(0.99, pair.busy * (1.0 + front))
    slowdown = pair.slowdown / profile.warm_of(pair.subject)
    return 0.0 if busy <= 0.0 else (slowdown * (1.0 - busy) - 1.0) / busy
