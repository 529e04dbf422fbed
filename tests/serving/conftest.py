import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.served import Served, Wire, served

# It loads tritonclient's messages, which must not meet ours in one interpreter.
collect_ignore = ["tritonclient_script.py"]


@pytest.fixture(scope="package")
def shared_server() -> Iterator[Served]:
    with served(max_body_bytes=1 << 20) as one:
        yield one


@pytest.fixture
def server(shared_server: Served) -> Iterator[Served]:
    shared_server.runtime.asked.clear()
    yield shared_server
    shared_server.runtime.fail_with = None
    shared_server.call(shared_server.runtime.release.clear)


@pytest.fixture
def wire(server: Served) -> Iterator[Wire]:
    with Wire(server.ports.http) as one:
        yield one


@pytest.fixture(scope="package")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, ssl.SSLContext]:
    """A self-signed certificate of 'localhost', its key, and a client that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key, ssl.create_default_context(cafile=str(cert))
