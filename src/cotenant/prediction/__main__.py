"""A profile's path and a workload in JSON on standard input go in; its prediction is printed.

`prediction/apart.py` runs this for servers; people use `cotenant predict`.
"""

import json
import sys
from pathlib import Path

from cotenant.core.errors import CotenantError, Unsupported
from cotenant.core.workload import Workload
from cotenant.device.cpu.scheduling import best_rung, enter_best_effort
from cotenant.prediction.predict import predict
from cotenant.prediction.virtual import VirtualClock
from cotenant.profiling.file import load_profile, origin
from cotenant.profiling.subject import subject_of


def main() -> None:
    """Print the prediction, or why there is none."""
    profile, *options = sys.argv[1:]
    enter_best_effort(best_rung())
    workload = Workload.model_validate_json(sys.stdin.read())
    try:
        read = load_profile(Path(profile), None if options else origin())
        prediction = predict(workload, read, subject_of, simulate=VirtualClock())
    except CotenantError as error:
        print(json.dumps({"error": str(error), "unsupported": isinstance(error, Unsupported)}))
        return
    tasks = [one._asdict() for one in prediction.tasks]
    print(json.dumps({"tasks": tasks, "notes": prediction.notes}))


if __name__ == "__main__":
    main()
