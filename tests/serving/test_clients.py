"""Real clients against a served machine, each in an interpreter of its own."""

import subprocess
import sys
from pathlib import Path

from tests.serving.served import Served


def run_tritonclient(http_port: int, grpc_port: int, *arguments: str) -> None:
    script = Path(__file__).with_name("tritonclient_script.py")
    done = subprocess.run(
        [sys.executable, str(script), str(http_port), str(grpc_port), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_tritonclient_over_http_and_grpc(server: Served) -> None:
    run_tritonclient(server.ports.http, server.ports.grpc, "strings")
