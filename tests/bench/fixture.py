"""Records small enough to work every figure out by hand: header and lines come out."""

from typing import Any

from cotenant.bench.records import ALONE, Kill, Line, Memory, Observation, Phase
from cotenant.core.record import Outcome

SCENARIO = "tiny"


def header(**changes: Any) -> dict[str, Any]:
    scenario = {
        "name": SCENARIO,
        "policies": ["cotenant", "concurrent"],
        "overload": None,
        "kills": 0,
        "tasks": [
            {
                "name": "c",
                "model": "zoo:c",
                "criticality": "critical",
                "slo": {"latency_s": 0.1, "quantile": 0.99},
                "arrivals": {"kind": "periodic", "rate_rps": 1.0},
            },
            {
                "name": "b",
                "model": "zoo:b",
                "criticality": "best-effort",
                "slo": None,
                "arrivals": {"kind": "closed-loop", "clients": 1, "think_s": 0.0},
            },
        ],
    }
    return {
        "suite": "mixed",
        "machine": {"processor": "P", "cores": 2, "memory_bytes": 2**30, "system": "S"},
        "versions": {"cotenant": "0"},
        "seed": 1,
        "rounds": 1,
        "seconds_s": 10.0,
        "warm_up_s": 1.0,
        "generator": "ordinary",
        "scenarios": [scenario | changes],
    }


def phase(policy: str, start_s: float, tasks: tuple[str, ...], **service_s: float) -> Phase:
    return Phase(SCENARIO, policy, 0, tasks, start_s - 1.0, start_s, start_s + 10.0, service_s)


def seen(
    policy: str,
    task: str,
    due_s: float,
    latency_s: float,
    answer: tuple[int | None, Outcome] = (200, Outcome.OK),
) -> Observation:
    return Observation(SCENARIO, policy, 0, task, due_s, due_s, due_s + latency_s, *answer)


def lines_alone() -> list[Line]:
    """c takes 50 ms, 40 ms of it inside the model; b answers twice a second."""
    return [
        phase(ALONE, 100.0, ("c",), c=0.04),
        *(seen(ALONE, "c", 100.0 + place, 0.05) for place in range(10)),
        phase(ALONE, 200.0, ("b",)),
        *(seen(ALONE, "b", 200.0 + 0.5 * place, 0.5) for place in range(20)),
    ]


def lines_mixed(policy: str = "cotenant") -> list[Line]:
    """Of ten requests of c eight are in time, one is late, one refused; b loses three turns."""
    return [
        phase(policy, 300.0, ("c", "b")),
        seen(policy, "c", 299.5, 9.0),  # warm-up: it must not count
        *(seen(policy, "c", 300.0 + place, 0.06) for place in range(8)),
        seen(policy, "c", 308.0, 0.2),
        seen(policy, "c", 309.0, 0.01, (503, Outcome.REJECTED)),
        seen(policy, "b", 299.75, 0.5),  # half of its stay lies inside the window
        *(seen(policy, "b", 300.25 + 0.5 * place, 0.5) for place in range(18)),
    ]


def lines_memory(rss_bytes: list[int], policy: str = "cotenant") -> list[Line]:
    return [Memory(SCENARIO, policy, 0, 300.0 + place, rss) for place, rss in enumerate(rss_bytes)]


def line_kill(time_s: float, back_s: float | None, policy: str = "cotenant") -> Line:
    return Kill(SCENARIO, policy, 0, "b", time_s, 4711, back_s, 1)
