"""A measured pair goes in; what the one costs the other beyond sharing the cores comes out.

The excess is a slowdown less one, for each unit of time that the other one runs. What sharing
explains is taken out of what was measured, with b the busy fraction of the other one:

| the one | beside | sharing explains |
| --- | --- | --- |
| critical | best-effort | nothing: it takes the cores away |
| best-effort | best-effort | 1 + b: half the machine while the other one runs; under policy \
`concurrent` so for every pair |

On one core nothing runs beside anything, and what company leaves in the caches is part of the
time in turns: there only interruptions cost more.

Best-effort work that critical work interrupts stands still meanwhile, and loses a certain time
each time, however long it stood, since threads are put back on their cores, and more the longer it
stood, since caches are filled again (`waking.py`).

In company no core sleeps, so what was measured is compared with the service time on a component
that has just run another model (`waking.py`).
"""

from cotenant.core.task import Criticality
from cotenant.prediction.waking import Paces, displaced
from cotenant.profiling.profile import Beside, Profile, Subject

_LEAST = -0.9


def excess_of(pair: Beside, profile: Profile, cores: int) -> float:
    """Of the pair's first one, for each unit of time that the second one runs.

    Args:
        cores: of the component that they share.
    """
    own, other = pair.subject.criticality, pair.other.criticality
    alike = profile.policy == "concurrent" or own is other
    if not alike and own is Criticality.BEST_EFFORT:
        held_s = profile.mean_of(pair.other)
        return _interruption_s(profile, pair.subject, held_s) / held_s
    if cores == 1 or pair.busy <= 0.0:
        return 0.0
    explained = 1.0 + pair.busy if alike else 1.0
    warm = profile.after_itself_of(pair.subject)
    company = pair.slowdown if pair.over_warm is None else pair.over_warm * warm
    woken = profile.after_another_of(pair.subject)
    return max(_LEAST, (company / woken / explained - 1.0) / pair.busy)


def _interruption_s(profile: Profile, subject: Subject, held_s: float) -> float:
    paces = Paces(profile.after_itself_of(subject), profile.after_another_of(subject), 1.0)
    displaced_s = displaced(paces, held_s, profile.cooling_s) * profile.mean_of(subject)
    return profile.interruption_of(subject) + displaced_s
