"""A suite's name goes in, its workloads come out: MDTB and DISB, as they were published.

MDTB (Miriam, arXiv 2307.04339): one critical and one best-effort model. DISB (REEF, OSDI 2022):
up to five of each. Best-effort tasks are closed loops throughout. Rates are those of the
publications, for the devices of the publications; `rates.py` scales them for slower ones.
"""

from collections.abc import Mapping
from typing import NamedTuple

from cotenant.bench.scenarios import Scenario
from cotenant.core.task import Arrivals, ClosedLoop, Criticality, Periodic, Poisson, Task
from cotenant.core.workload import Workload

REFERENCE = "sequential"
"""The policy whose total throughput the others are compared with."""


class Suite(NamedTuple):
    """Workloads that belong together."""

    name: str
    title: str
    scenarios: tuple[Scenario, ...]
    notes: tuple[str, ...]
    """Where they differ from what was published."""


def _uniform(rate_rps: float) -> Arrivals:
    return Periodic(kind="periodic", rate_rps=rate_rps)


def _poisson(rate_rps: float) -> Arrivals:
    return Poisson(kind="poisson", rate_rps=rate_rps)


_CLOSED: Arrivals = ClosedLoop(kind="closed-loop")


def _critical(model: str, arrivals: Arrivals) -> Task:
    return Task(
        name=f"critical-{model}",
        model=f"zoo:{model}",
        criticality=Criticality.CRITICAL,
        arrivals=arrivals,
    )


def _best_effort(model: str) -> Task:
    return Task(name=f"best-effort-{model}", model=f"zoo:{model}", arrivals=_CLOSED)


def _scenario(name: str, *tasks: Task) -> Scenario:
    return Scenario(name, Workload(name=name, tasks=tasks), policies=())


_FIVE = ("vgg19", "resnet50", "densenet121", "inception_v2", "shufflenet")

SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "mdtb",
            "MDTB: a critical and a best-effort model",
            (
                _scenario("mdtb-a", _critical("alexnet", _CLOSED), _best_effort("cifarnet")),
                _scenario(
                    "mdtb-b", _critical("squeezenet", _uniform(10.0)), _best_effort("alexnet")
                ),
                _scenario("mdtb-c", _critical("gru", _poisson(10.0)), _best_effort("resnet50")),
                _scenario("mdtb-d", _critical("lstm", _uniform(10.0)), _best_effort("squeezenet")),
            ),
            (
                "the ResNet of workload C is ResNet-50",
                "CifarNet, GRU and LSTM have sizes of our own, for theirs are not published",
            ),
        ),
        Suite(
            "disb",
            "DISB: up to five critical and five best-effort models",
            (
                _scenario("disb-a", _critical("vgg19", _uniform(100.0)), _best_effort("resnet50")),
                _scenario("disb-b", _critical("vgg19", _CLOSED), _best_effort("resnet50")),
                _scenario("disb-c", _critical("vgg19", _uniform(100.0)), *map(_best_effort, _FIVE)),
                _scenario(
                    "disb-d",
                    *(_critical(model, _uniform(20.0)) for model in _FIVE),
                    *map(_best_effort, _FIVE),
                ),
                _scenario(
                    "disb-e",
                    *(_critical(model, _poisson(20.0)) for model in _FIVE),
                    *map(_best_effort, _FIVE),
                ),
            ),
            (
                "ResNet-50 stands for ResNet-152, the zoo's largest for the published one",
                "the five models of C, D and E are "
                + ", ".join(_FIVE)
                + ": the nearest of the zoo",
            ),
        ),
    )
}
