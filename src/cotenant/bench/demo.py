"""Seconds go in; a short scenario of four real models and a verdict on its figures come out.

The phases are those of the suite `mixed`, only shorter: every task alone, then all of them
under each policy, twice, so that what changes between two phases is the policy and not
the machine.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from cotenant.bench.header import mixed_header
from cotenant.bench.mixed import OWN_POLICY, Settings
from cotenant.bench.records import Kill, Line, Memory, Observation, Phase, Records
from cotenant.bench.scenarios import Scenario
from cotenant.core.task import ClosedLoop, Criticality, Periodic, Slo, Task
from cotenant.core.workload import Workload

POLICIES = ("sequential", "concurrent", OWN_POLICY)
_ROUNDS = 2
_WARM_UP_S = 0.3
_SHORTEST_PHASE_S = 0.5


def demo_scenario(seconds_s: float) -> tuple[Scenario, Settings]:
    """A camera box whose phases add up to about `seconds_s`."""
    tasks = (
        _critical("detector", "squeezenet", 20.0, 0.040),
        _critical("keyword", "gru", 10.0, 0.020),
        _best_effort("labeller", "resnet50"),
        _best_effort("scene", "shufflenet"),
    )
    # A phase with everybody lasts twice as long as one alone.
    units = len(POLICIES) + 0.5 * len(tasks)
    unit_s = seconds_s / _ROUNDS / units
    settings = Settings(
        rounds=_ROUNDS,
        seconds_s=max(_SHORTEST_PHASE_S, 0.5 * unit_s - _WARM_UP_S),
        warm_up_s=_WARM_UP_S,
        seed=1,
    )
    workload = Workload(name="demo", tasks=tasks)
    mixed_s = max(_SHORTEST_PHASE_S, unit_s - _WARM_UP_S)
    return Scenario("demo", workload, policies=POLICIES, seconds_s=mixed_s), settings


class Memo:
    """Keeps records in memory instead of a file."""

    def __init__(self) -> None:
        self._lines: list[Line] = []

    def write(self, lines: Iterable[Line]) -> None:
        self._lines.extend(lines)

    def records(self, scenario: Scenario, settings: Settings, standing: str) -> Records:
        """As if they had been read from a file."""
        return Records(
            mixed_header((scenario,), settings, standing),
            tuple(line for line in self._lines if isinstance(line, Phase)),
            tuple(line for line in self._lines if isinstance(line, Observation)),
            tuple(line for line in self._lines if isinstance(line, Memory)),
            tuple(line for line in self._lines if isinstance(line, Kill)),
        )


def verdict(summary: Mapping[str, Any]) -> str:
    """One sentence about the critical task that fared worst, drawn from the figures alone."""
    policies = summary["scenarios"][0]["policies"] if summary["scenarios"] else {}
    slowdowns = {
        name: task["slowdown_p99"]["value"]
        for name, task in policies.get(OWN_POLICY, {"tasks": {}})["tasks"].items()
        if task["criticality"] == Criticality.CRITICAL and task["slowdown_p99"] is not None
    }
    if not slowdowns:
        return "Too few answers for a verdict; run the demo for longer."
    worst = max(slowdowns, key=lambda name: slowdowns[name])
    others = [
        f"{_times(task['slowdown_p99'])} under {policy}"
        for policy, figures in policies.items()
        for name, task in figures["tasks"].items()
        if policy != OWN_POLICY and name == worst
    ]
    sentence = (
        f"Beside the other models '{worst}', the critical task that fared worst, takes "
        f"{slowdowns[worst]:.2f} times its p99 alone under {OWN_POLICY}"
        + (f", {' and '.join(others)}" if others else "")
    )
    gains = [
        f"{gain:.2f} times as much as under {policy}"
        for policy, figures in policies.items()
        if policy != OWN_POLICY and (gain := _gain(policies[OWN_POLICY], figures)) is not None
    ]
    return sentence + (f"; best-effort models do {' and '.join(gains)}" if gains else "") + "."


def _gain(own: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    """Best-effort work done under one policy over that under another."""
    ratios = [policy["best_effort_ratio"] for policy in (own, other)]
    if None in ratios or ratios[1]["value"] == 0.0:
        return None
    gain: float = ratios[0]["value"] / ratios[1]["value"]
    return gain


def _times(slowdown: Mapping[str, float] | None) -> str:
    return "no answer in time" if slowdown is None else f"{slowdown['value']:.2f} times"


def _critical(name: str, model: str, rate_rps: float, slo_s: float) -> Task:
    return Task(
        name=name,
        model=f"zoo:{model}",
        criticality=Criticality.CRITICAL,
        slo=Slo(latency_s=slo_s),
        arrivals=Periodic(kind="periodic", rate_rps=rate_rps),
    )


def _best_effort(name: str, model: str) -> Task:
    return Task(name=name, model=f"zoo:{model}", arrivals=ClosedLoop(kind="closed-loop"))
