"""A workload file goes in; a small server that speaks just enough of the protocol comes up.

It takes the command line of `cotenant serve`, runs no model, and misbehaves on request: it
stalls, drops connections, refuses. What it did is told by GET /counts.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from io import FileIO
from pathlib import Path

import orjson
import yaml


class Fake:
    def __init__(self, options: argparse.Namespace, tasks: list[str]) -> None:
        self.options = options
        self.tasks = tasks
        self.requests = 0
        self.refused = 0
        self.inside = 0
        self.turn = asyncio.Lock()
        self.lanes = {task: self.new_lane() for task in tasks} if options.lanes else {}
        self.restarts = dict.fromkeys(tasks, 0)

    def new_lane(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def close(self) -> None:
        for lane in self.lanes.values():
            lane.kill()
            lane.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split("\r\n", 1)[0].split(" ")
                fields = dict(
                    line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
                )
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                if method == "POST":
                    answer = await self.infer(path.split("/")[3], fields, body)
                else:
                    answer = self.get(path)
                if answer is None:
                    break
                status, content = answer
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n".encode()
                    + content
                )
        writer.close()

    def get(self, path: str) -> tuple[int, bytes]:
        if path == "/v2/health/ready":
            return 200, b'{"ready": true}'
        if path == "/counts":
            return 200, orjson.dumps({"requests": self.requests, "refused": self.refused})
        if path == "/v2/cotenant/lanes":
            return 200, orjson.dumps({"policy": self.options.policy, "lanes": self.look()})
        parts = path.split("/")
        if parts[:3] == ["", "v2", "models"] and len(parts) == 4 and parts[3] in self.tasks:
            tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 16]}
            return 200, orjson.dumps({"name": parts[3], "inputs": [tensor], "outputs": [tensor]})
        return 404, b'{"error": "unknown"}'

    def look(self) -> list[dict[str, object]]:
        for task, lane in self.lanes.items():
            if lane.poll() is not None:
                self.lanes[task] = self.new_lane()
                self.restarts[task] += 1
        return [
            {
                "task": task,
                "criticality": "best-effort",
                "state": "ready",
                "pid": lane.pid,
                "restarts": self.restarts[task],
                "queued": 0,
                "slowdown": None,
                "component": "cpu",
            }
            for task, lane in self.lanes.items()
        ]

    async def infer(
        self, model: str, fields: dict[str, str], body: bytes
    ) -> tuple[int, bytes] | None:
        options = self.options
        self.requests += 1
        length = int(fields["inference-header-content-length"])
        tensor = orjson.loads(body[:length])["inputs"][0]
        if len(body) - length != tensor["parameters"]["binary_data_size"] or (
            tensor["shape"] != [1, 16]
        ):
            return 400, b'{"error": "bytes do not match the header"}'
        if options.drop_every and self.requests % options.drop_every == 0:
            return None
        if options.refuse_above and self.inside >= options.refuse_above:
            self.refused += 1
            return 503, b'{"error": "Exceeds maximum queue size"}'
        self.inside += 1
        arrival_s = time.monotonic()
        try:
            async with self.turn:  # one at a time, like a model
                start_s = time.monotonic()
                if self.requests >= options.stall_on and not self.stalled:
                    self.stalled = True
                    time.sleep(options.stall_s)  # noqa: ASYNC251 - the stall is the point
                await asyncio.sleep(options.service_s)
        finally:
            self.inside -= 1
        if self.records:
            times = {"arrival_s": arrival_s, "start_s": start_s, "end_s": time.monotonic()}
            line = orjson.dumps({"task": model, "outcome": "ok", **times})
            self.records.write(line + b"\n")
        return 200, b'{"model_name": "%s", "outputs": []}' % model.encode()

    stalled = False
    records: "FileIO | None" = None


def tasks_of(workload: str) -> list[str]:
    with open(workload, encoding="utf-8") as file:
        return [task["name"] for task in yaml.safe_load(file)["tasks"]]


async def run() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--service-s", type=float, default=0.001)
    parser.add_argument("--stall-on", type=int, default=10**9)
    parser.add_argument("--stall-s", type=float, default=0.5)
    parser.add_argument("--drop-every", type=int, default=0)
    parser.add_argument("--refuse-above", type=int, default=0)
    parser.add_argument("--lanes", action="store_true")
    parser.add_argument("workload")
    parser.add_argument("--policy")
    parser.add_argument("--host")
    parser.add_argument("--http-port", type=int)
    parser.add_argument("--grpc-port", type=int)
    parser.add_argument("--metrics-port", type=int)
    parser.add_argument("--records", type=Path)
    options = parser.parse_args()
    fake = Fake(options, tasks_of(options.workload))
    if options.records:
        fake.records = options.records.open("ab", buffering=0)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(fake.serve, options.host, options.http_port)
    await stop.wait()
    server.close()
    fake.close()
    os._exit(0)  # connections that clients keep alive need no farewell


if __name__ == "__main__":
    asyncio.run(run())
