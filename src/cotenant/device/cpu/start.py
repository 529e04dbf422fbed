"""The first act of a lane's interpreter: take its class, then load what is heavy, then serve.

A best-effort interpreter that starts again under load must not even import its libraries at
the expense of others, so nothing else may be imported here.
"""

import importlib
import sys

from cotenant.device.cpu.scheduling import Rung, enter_best_effort


def main() -> None:
    """Arguments: socket, shared memory, kind of role, rung."""
    channel, memory, kind, rung = sys.argv[1:]
    if kind == "best-effort":
        enter_best_effort(Rung(rung))
    importlib.import_module("cotenant.device.cpu.interpreter").serve(int(channel), int(memory))


if __name__ == "__main__":
    main()
