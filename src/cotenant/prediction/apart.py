"""A workload and a profile's file go in; the prediction comes out of an interpreter of its own.

A server asks it so: the mathematics holds neither its interpreter lock nor its cores, since the
other interpreter runs in the class of best-effort work.
"""

import json
import subprocess
import sys
from pathlib import Path

from cotenant.core.errors import Unsupported, WorkloadError
from cotenant.core.hardware import allowed_cores
from cotenant.core.workload import Workload
from cotenant.device.cpu.scheduling import release_children
from cotenant.prediction.figures import Figures, Prediction

_TIMEOUT_S = 120.0


class Apart:
    """Predictions from one profile file, which is read anew for each."""

    def __init__(self, profile: Path, any_machine: bool = False) -> None:
        self._profile = profile
        self._any_machine = any_machine
        # Now: a server will stay on one core, and its children must not.
        self._cores = allowed_cores()

    def __call__(self, workload: Workload) -> Prediction:
        """Predict; it blocks, and changes the class of its thread's children: call it in one.

        Raises:
            WorkloadError: a profile that cannot be used, or that lacks a task.
            Unsupported: a mix that cannot be predicted.
        """
        release_children(self._cores)
        asked = [str(self._profile), *(["--any-machine"] if self._any_machine else [])]
        try:
            ended = subprocess.run(
                [sys.executable, "-m", "cotenant.prediction", *asked],
                input=workload.model_dump_json(by_alias=True),
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise Unsupported(
                f"the prediction took longer than {_TIMEOUT_S:.0f} s and was given up; "
                "start the server with --admission off, or with fewer tasks"
            ) from error
        if ended.returncode != 0:
            raise Unsupported(
                f"the prediction ended with status {ended.returncode}: "
                f"{ended.stderr.strip()[-500:]}; start the server with --admission off"
            )
        answer = json.loads(ended.stdout)
        if "error" in answer:
            raise (Unsupported if answer["unsupported"] else WorkloadError)(answer["error"])
        return Prediction(tuple(Figures(**one) for one in answer["tasks"]), tuple(answer["notes"]))
