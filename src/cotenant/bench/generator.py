"""Plans of load come in on stdin, requests go out on time, one line per ended request on stdout.

Runs as `python -m cotenant.bench.generator`, in an interpreter of its own. Open-loop
requests leave when they are due, whatever became of the earlier ones, and their latency
counts from that time: a server that stalls is seen to stall by every request it held up.
"""

import asyncio
import gc
import json
import os
import selectors
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from cotenant.bench.inputs import request_bytes
from cotenant.bench.load import LoadPlan, Seen, TaskLoad
from cotenant.bench.pool import Pool
from cotenant.bench.standing import raise_above_server
from cotenant.core.clock import Clock, MonotonicClock
from cotenant.core.errors import CotenantError
from cotenant.core.record import Outcome

CONNECTIONS_PER_TASK = 128
_PAUSE_AFTER_REFUSAL_S = 0.01
"""A closed-loop client that is refused would otherwise ask again as fast as it can spin."""
_LEAD_S = 0.05
_OUTCOMES = {
    200: Outcome.OK,
    503: Outcome.REJECTED,
    504: Outcome.TIMED_OUT,
}


Say = Callable[[Any], None]


class TaskDriver:
    """Sends the requests of one task and reports each exactly once."""

    def __init__(self, load: TaskLoad, payload: bytes, pool: Pool, clock: Clock, say: Say) -> None:
        self._load = load
        self._payload = payload
        self._pool = pool
        self._clock = clock
        self._say = say
        self._pending = 0
        self._cut_off = False
        self.successor = self
        """Whose turn it is when a client of a closed loop has its answer."""
        self._last_due = asyncio.Event()
        self._answered = asyncio.Event()

    async def run(self, start_s: float, end_s: float) -> None:
        """Returns when every request that was due before `end_s` has ended."""
        if self._load.offsets_s is None:
            for _ in range(self._load.clients):
                self._after(start_s, lambda: self._send_closed(start_s, end_s))
            self._after(end_s, self._no_more)
        else:
            self._follow([start_s + offset_s for offset_s in self._load.offsets_s], 0)
        await self._answered.wait()

    async def cut_off(self) -> None:
        """Give up what has not been answered; it is reported as cancelled by its client."""
        self._cut_off = True
        await self._pool.close()

    def _follow(self, due_s: list[float], place: int) -> None:
        # One timer at a time; a loop that woke late sends everything that is due at once.
        while place < len(due_s) and due_s[place] <= self._clock.now():
            self._send(due_s[place])
            place += 1
        if place < len(due_s):
            self._after(due_s[place], lambda: self._follow(due_s, place))
        else:
            self._no_more()

    def _after(self, time_s: float, call: Any) -> None:
        asyncio.get_running_loop().call_at(time_s, call)

    def _send_closed(self, due_s: float, end_s: float) -> None:
        now_s = self._clock.now()
        if now_s < end_s and not self._cut_off:
            # Who pauses is late from when it was due, as in an open loop; who does not, never is.
            self._send(due_s if self._load.think_s else now_s, end_s)

    def _send(self, scheduled_s: float, closed_until_s: float | None = None) -> None:
        self._pending += 1
        sent_s: list[float] = []

        def done(status: int | None, ended_s: float) -> None:
            self._pending -= 1
            outcome = self._outcome(status)
            written_s = sent_s[0] if sent_s else None
            seen = Seen(self._load.task, scheduled_s, written_s, ended_s, status, outcome)
            self._say(tuple(seen))
            if closed_until_s is not None:
                pause_s = self._load.think_s
                if outcome is not Outcome.OK:
                    pause_s = max(pause_s, _PAUSE_AFTER_REFUSAL_S)
                due_s = ended_s + pause_s
                self._after(due_s, lambda: self.successor._send_closed(due_s, closed_until_s))
            self._check_end()

        self._pool.submit(self._payload, sent_s.append, done)

    def _outcome(self, status: int | None) -> Outcome:
        if status is None and self._cut_off:
            return Outcome.CANCELLED
        return Outcome.FAILED if status is None else _OUTCOMES.get(status, Outcome.FAILED)

    def _no_more(self) -> None:
        self._last_due.set()
        self._check_end()

    def _check_end(self) -> None:
        if self._last_due.is_set() and not self._pending:
            self._answered.set()


async def drive(plan: LoadPlan, payloads: dict[str, bytes], say: Say) -> None:
    """Run one plan: say the start, each request as it ends, and the end."""
    clock = MonotonicClock()
    drivers = []
    for load in plan.loads:
        pool = Pool(plan.host, plan.port, max(CONNECTIONS_PER_TASK, load.clients), clock)
        await pool.warm()
        drivers.append(TaskDriver(load, payloads[load.task], pool, clock, say))
    if plan.in_turns:
        for driver, successor in zip(drivers, (*drivers[1:], drivers[0]), strict=True):
            driver.successor = successor
    start_s = clock.now() + _LEAD_S
    end_s = start_s + plan.warm_up_s + plan.seconds_s
    say({"start_s": start_s})
    running = [asyncio.ensure_future(driver.run(start_s, end_s)) for driver in drivers]
    await asyncio.wait(running, timeout=end_s - clock.now() + plan.drain_s)
    for driver in drivers:
        await driver.cut_off()
    await asyncio.gather(*running)
    say({"ended": True})


def fetch_payload(plan: LoadPlan, load: TaskLoad) -> bytes:
    """Ask the server what the model takes, and make one request for it from the seed."""
    address = f"{plan.host}:{plan.port}"
    url = f"http://{address}/v2/models/{load.task}"
    with urllib.request.urlopen(url, timeout=10.0) as answer:
        metadata = json.load(answer)
    rng = np.random.default_rng([plan.seed, zlib.crc32(load.task.encode())])
    return request_bytes(metadata, address, rng)


def main() -> None:
    """Serve plans until stdin ends, on the cores that the arguments name."""
    if sys.argv[1:]:
        os.sched_setaffinity(0, map(int, sys.argv[1:]))

    def say(message: Any) -> None:
        sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
        sys.stdout.buffer.flush()

    standing = raise_above_server()
    gc.freeze()
    gc.disable()  # a collection in the middle of a phase would make requests late
    say({"standing": standing})
    for line in sys.stdin.buffer:
        fields = orjson.loads(line)
        loads = tuple(TaskLoad(**load) for load in fields.pop("loads"))
        plan = LoadPlan(**fields, loads=loads)
        try:
            payloads = {load.task: fetch_payload(plan, load) for load in loads}
        except (urllib.error.URLError, OSError, ValueError, KeyError, CotenantError) as error:
            say({"error": str(error)})
            continue
        # select() sleeps to the microsecond; epoll would round every due time up to the
        # next millisecond.
        loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        try:
            loop.run_until_complete(drive(plan, payloads, say))
        finally:
            loop.close()
        gc.collect()


if __name__ == "__main__":
    main()
