"""Nothing goes in; the calling interpreter is raised above the server, and told how far.

The load generator stands for the outside world: cameras and clients do not slow down
because the machine is busy, so their stand-in must not either.
"""

import os

_FIFO_PRIORITY = 90  # above the front of the server: the outside world waits for nobody
_NICE = -18


def raise_above_server() -> str:
    """Take the best scheduling class that the privileges allow; returns its name."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_FIFO_PRIORITY))
    except OSError:
        pass
    else:
        return f"SCHED_FIFO {_FIFO_PRIORITY}"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    except OSError:
        return "ordinary"
    return f"nice {_NICE}"
