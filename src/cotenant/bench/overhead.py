"""A folder goes in; what the server adds to a call of ONNX Runtime comes out, case by case.

Two models that cost next to nothing are served: `tiny` takes 16 floats, `frame` takes one
1x3x224x224 image and gives three numbers. In each round every way of calling them is
visited in an order drawn anew. Overhead is the p50 of the round trip less the p50 of the
call in-process.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import orjson
from onnx import TensorProto, helper

from cotenant.bench.clients import Client, GrpcClient, InProcess, RestClient
from cotenant.bench.cores import core_count
from cotenant.bench.header import suite_header
from cotenant.bench.servers import HOST, SERVE, Server
from cotenant.bench.statistics import Samples, quantile_difference
from cotenant.core.clock import MonotonicClock
from cotenant.core.task import Criticality, Task
from cotenant.core.units import format_duration
from cotenant.core.workload import Workload

RECORDS = "records.jsonl"
IN_PROCESS = "in-process"
_SHAPES = {"tiny": (1, 16), "frame": (1, 3, 224, 224)}
_BARS_S = {"tiny": 0.6e-3, "frame": 1.2e-3}
_BYTES_PER_FLOAT = 4
_PAYLOAD_BYTES = {model: int(np.prod(shape)) * _BYTES_PER_FLOAT for model, shape in _SHAPES.items()}
_WARM_UP_CALLS = 20


class OverheadBar(NamedTuple):
    """One promised figure."""

    protocol: str
    payload_bytes: int
    value_s: float
    limit_s: float

    @property
    def met(self) -> bool:
        return self.value_s <= self.limit_s


def build_models(folder: Path) -> dict[str, Path]:
    """Write the two models; both are one operator deep."""
    folder.mkdir(parents=True, exist_ok=True)
    operators = {"tiny": ("Relu", (1, 16)), "frame": ("GlobalAveragePool", (1, 3, 1, 1))}
    paths = {}
    for model, (operator, output_shape) in operators.items():
        graph = helper.make_graph(
            [helper.make_node(operator, ["x"], ["y"])],
            model,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, _SHAPES[model])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        )
        document = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        )
        onnx.checker.check_model(document)
        paths[model] = folder / f"{model}.onnx"
        onnx.save(document, paths[model])
    return paths


def measure(
    folder: Path,
    *,
    rounds: int,
    calls: int,
    seed: int,
    ended: Callable[[], None],
    program: Sequence[str] = SERVE,
) -> None:
    """Write `records.jsonl`; `ended` is called after each of the rounds."""
    folder.mkdir(parents=True, exist_ok=True)
    models = build_models(folder)
    rng = np.random.default_rng(seed)
    workload = Workload(
        name="overhead",
        tasks=tuple(
            Task(name=model, model=str(path), criticality=Criticality.CRITICAL)
            for model, path in models.items()
        ),
    )
    clients: list[tuple[str, str, Client]] = []
    with (
        Server(workload, "cotenant", folder, program) as server,
        (folder / RECORDS).open("wb") as file,
    ):
        server.wait_ready()
        header = suite_header("overhead", seed) | {"rounds": rounds, "calls": calls}
        file.write(orjson.dumps({"kind": "header"} | header) + b"\n")
        try:
            for model, path in models.items():
                tensor = rng.standard_normal(_SHAPES[model]).astype(np.float32)
                clients += [
                    (IN_PROCESS, model, InProcess(path, tensor)),
                    ("rest", model, RestClient(HOST, server.port, model, tensor)),
                    ("grpc", model, GrpcClient(HOST, server.grpc_port, model, tensor)),
                ]
            for round_number in range(rounds):
                for place in rng.permutation(len(clients)):
                    protocol, model, client = clients[place]
                    line = {
                        "kind": "calls",
                        "round": round_number,
                        "protocol": protocol,
                        "model": model,
                        "durations_s": _durations_s(client, calls),
                    }
                    file.write(orjson.dumps(line) + b"\n")
                ended()
        finally:
            for _, _, client in clients:
                client.close()


def write_report(folder: Path) -> tuple[OverheadBar, ...]:
    """Make `summary.json` and `report.md` from the records in `folder`; returns the bars."""
    header, *lines = map(orjson.loads, (folder / RECORDS).read_bytes().splitlines())
    durations_s: dict[tuple[str, str], list[Samples]] = defaultdict(list)
    for line in lines:
        durations_s[line["protocol"], line["model"]].append(np.array(line["durations_s"]))
    rng = np.random.default_rng(header["seed"])
    cases, bars, rows = [], [], []
    for (protocol, model), rounds_s in sorted(durations_s.items()):
        if protocol == IN_PROCESS:
            continue
        alone_s = durations_s[IN_PROCESS, model]
        overhead_s = quantile_difference(rounds_s, alone_s, 0.5, rng)
        payload_bytes = _PAYLOAD_BYTES[model]
        cases.append(
            {
                "protocol": protocol,
                "payload_bytes": payload_bytes,
                "overhead_p50_s": overhead_s._asdict(),
            }
        )
        bar = OverheadBar(protocol, payload_bytes, overhead_s.value, _BARS_S[model])
        bars.append(bar)
        rows.append(_row(bar, overhead_s.low, overhead_s.high, rounds_s, alone_s))
    summary = {key: header[key] for key in ("suite", "machine", "versions", "seed")}
    document = orjson.dumps(summary | {"cases": cases}, option=orjson.OPT_INDENT_2)
    (folder / "summary.json").write_bytes(document + b"\n")
    (folder / "report.md").write_text(_markdown(header, rows), encoding="utf-8")
    return tuple(bars)


def _durations_s(client: Client, calls: int) -> list[float]:
    now = MonotonicClock().now
    for _ in range(_WARM_UP_CALLS):
        client.call()
    durations_s = []
    for _ in range(calls):
        start_s = now()
        client.call()
        durations_s.append(now() - start_s)
    return durations_s


def _row(
    bar: OverheadBar,
    low_s: float,
    high_s: float,
    rounds_s: Sequence[Samples],
    alone_s: Sequence[Samples],
) -> str:
    trip_s, call_s = (float(np.median(np.concatenate(one))) for one in (rounds_s, alone_s))
    return (
        f"| {bar.protocol} | {bar.payload_bytes} | {format_duration(call_s)} "
        f"| {format_duration(trip_s)} | {format_duration(bar.value_s)} "
        f"[{format_duration(low_s)}, {format_duration(high_s)}] "
        f"| <= {format_duration(bar.limit_s)} | {'pass' if bar.met else 'MISS'} |"
    )


def _markdown(header: dict[str, Any], rows: Sequence[str]) -> str:
    machine = header["machine"]
    versions = ", ".join(f"{name} {one}" for name, one in header["versions"].items())
    return "\n".join(
        [
            "# What the server adds to a call of ONNX Runtime",
            "",
            f"{machine['processor']}, {core_count(machine)}, {machine['system']}.",
            f"Versions: {versions}",
            f"Seed {header['seed']}; {header['rounds']} interleaved rounds of "
            f"{header['calls']} calls each.",
            "",
            "| protocol | input bytes | in-process p50 | round trip p50 | overhead p50 | bar | |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
            *rows,
            "",
            "Requests are serialised ahead of time and answers are not decoded, so the overhead is "
            "the server's and the loopback's. Brackets are 95 % bootstrap intervals, resampled "
            "within rounds.",
            "",
        ]
    )
