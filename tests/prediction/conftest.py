"""Two models, a workload of them and a profile that is made up: what the commands are given."""

import pytest

from cotenant.pipeline import load
from cotenant.profiling.file import origin, save_profile
from cotenant.profiling.subject import subject_of
from tests.models import scale_model
from tests.prediction.made_up import made_up

WORKLOAD = """
tasks:
  - name: det
    model: det.onnx
    criticality: critical
    width: 1
    slo: {latency: 50ms}
    arrivals: {kind: poisson, rate: 10/s}
  - name: bulk
    model: bulk.onnx
    width: 1
    arrivals: {kind: closed-loop}
"""


@pytest.fixture
def files(tmp_path):
    """Arguments of a command: a workload of two models, and a profile of this machine."""
    path = tmp_path / "workload.yaml"
    path.write_text(WORKLOAD)
    for name, factor in (("det", 2.0), ("bulk", 3.0)):
        scale_model(tmp_path, factor, name)
    workload = load(path)
    det, bulk = (subject_of(task, workload) for task in workload.tasks)
    made = made_up({"det": 0.02, "bulk": 0.04}, machine=dict(origin().machine),
                   versions=dict(origin().versions))  # fmt: skip
    alone = tuple(
        one.model_copy(update={"subject": subject})
        for one, subject in zip(made.alone, (det, bulk), strict=True)
    )
    profile = tmp_path / "profile.json"
    save_profile(made.model_copy(update={"alone": alone}), profile)
    return [str(path), "--profile", str(profile)]
