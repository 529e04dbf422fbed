"""`cotenant serve`: a workload file or a model repository becomes a running server."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import orjson
import uvloop
from rich.console import Console

from cotenant.cli.options import max_rung_option
from cotenant.core.clock import wall_time_s
from cotenant.core.errors import Admission, WorkloadError
from cotenant.core.task import Task
from cotenant.core.units import parse_duration, parse_size
from cotenant.core.workload import Workload, load_workload
from cotenant.device.cpu.scheduling import Rung
from cotenant.prediction.apart import Apart
from cotenant.runtime.live import LiveRuntime
from cotenant.serving.admission import Gatekeeper, Mode
from cotenant.serving.allocator import keep_freed_memory
from cotenant.serving.limits import Limits
from cotenant.serving.repository import Repository
from cotenant.serving.security import Certificate, read_token
from cotenant.serving.server import Ports, Settings
from cotenant.serving.server import serve as run_server

_REFUSED = 3
"""Exit status when a critical SLO would not be kept."""
_PORT = click.IntRange(0, 65535)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Unit(click.ParamType[float]):
    """A value with a unit, such as '64MiB' or '15s'."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        try:
            return parse_size(value) if self.name == "size" else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("workload_file", metavar="[WORKLOAD.yaml]", required=False, type=_FILE)
@click.option(
    "--model-repository",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of models in Triton's layout, instead of a workload file; may be repeated.",
)
@click.option("--policy", help="Who runs when; see 'cotenant policies'. Default: the workload's.")
@max_rung_option
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 opens all networks.")
@click.option("--http-port", default=8000, show_default=True, type=_PORT, help="REST; 0: any free.")
@click.option("--grpc-port", default=8001, show_default=True, type=_PORT, help="gRPC; 0: any free.")
@click.option(
    "--metrics-port", default=8002, show_default=True, type=_PORT, help="Prometheus; 0: any free."
)
@click.option(
    "--model-control-mode",
    "control",
    default="none",
    show_default=True,
    type=click.Choice(["none", "poll", "explicit"]),
    help="none: load all and keep them; poll: follow the folders; explicit: clients load models.",
)
@click.option(
    "--load-model", "chosen", multiple=True, help="With explicit control: load this one at start."
)
@click.option(
    "--repository-poll", "poll_s", default="15s", show_default=True, type=_Unit("duration"),
    help="With poll control: how often to look.",
)  # fmt: skip
@click.option(
    "--exit-timeout-secs",
    "exit_timeout_s",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="On SIGTERM, how long running and queued requests may take to end.",
)
@click.option(
    "--max-body-size", "max_body_bytes", default="64MiB", show_default=True, type=_Unit("size"),
    help="Largest request, packed or unpacked, and largest tensor.",
)  # fmt: skip
@click.option(
    "--max-connections", default=512, show_default=True, type=click.IntRange(1, 65_536),
    help="REST connections open at once; one more is told 503. Mind 'ulimit -n'.",
)  # fmt: skip
@click.option("--strict-readiness", is_flag=True, help="Ready only while every model is.")
@click.option("--tls-cert", type=_FILE, help="Certificate chain in PEM form; with --tls-key.")
@click.option("--tls-key", type=_FILE, help="Its private key in PEM form.")
@click.option("--token-file", type=_FILE, help="File with the bearer token; or set COTENANT_TOKEN.")
@click.option(
    "--records", type=click.Path(dir_okay=False, path_type=Path),
    help="Append a line of JSON for each request to this file.",
)  # fmt: skip
@click.option(
    "--profile", "profile_path", type=_FILE,
    help="From 'cotenant profile': predict before a model is loaded.",
)  # fmt: skip
@click.option(
    "--admission", type=click.Choice([one.value for one in Mode]),
    help="A model that would break a critical SLO: refuse it (with --profile the default), or "
    "load it and warn.",
)  # fmt: skip
@click.option("--any-machine", is_flag=True, help="Take a profile of another machine or version.")
@click.option(
    "--log-format", default="text", show_default=True, type=click.Choice(["text", "json"]),
    help="json: one object on each line, for collectors of logs.",
)  # fmt: skip
def serve(  # noqa: PLR0917 - one argument for each option
    workload_file: Path | None,
    folders: tuple[Path, ...],
    policy: str | None,
    highest: Rung | None,
    host: str,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    control: str,
    chosen: tuple[str, ...],
    poll_s: float,
    exit_timeout_s: float,
    max_body_bytes: int,
    max_connections: int,
    strict_readiness: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    token_file: Path | None,
    records: Path | None,
    profile_path: Path | None,
    admission: str | None,
    any_machine: bool,
    log_format: str,
) -> None:
    """Serve many models on this machine, over REST and gRPC (Open Inference Protocol v2).

    Critical tasks run as if alone; best-effort tasks get all that is left.

    \b
    A workload file:            cotenant serve workload.yaml
    Only what fits:             cotenant serve workload.yaml --profile profile.json
    Triton's folders:           cotenant serve --model-repository models/
    Any free ports:             cotenant serve w.yaml --http-port 0 --grpc-port 0 --metrics-port 0
    Open to the network:        cotenant serve w.yaml --host 0.0.0.0 --token-file token.txt \\
                                    --tls-cert cert.pem --tls-key key.pem
    Ask it something:           curl localhost:8000/v2/cotenant/lanes

    SIGTERM turns it unready, lets requests end, and exits with 0.
    """
    for contradicts, remedy in (
        (
            (workload_file is None) == (not folders),
            "give a workload file or --model-repository DIR, one of them",
        ),
        (chosen and control != "explicit", "--load-model goes with --model-control-mode explicit"),
        (
            control != "none" and not folders,
            f"--model-control-mode {control} goes with --model-repository",
        ),
        ((tls_cert is None) != (tls_key is None), "--tls-cert and --tls-key go together"),
        (
            admission not in (None, Mode.OFF) and profile_path is None,
            f"--admission {admission} goes with --profile FILE",
        ),
    ):
        if contradicts:
            raise click.UsageError(remedy)
    if log_format == "json":
        _log_json()
    repository = Repository(folders) if folders else None
    if workload_file is not None:
        workload = load_workload(workload_file)
    else:
        # The machine starts empty and loads the repository's models by name and version.
        workload = Workload.model_construct(tasks=())
    if repository is None:
        initial: tuple[str, ...] = ()
    else:
        initial = chosen if control == "explicit" else tuple(repository.names())
        if not initial and control == "none":
            raise WorkloadError(
                f"there is no model in {', '.join(map(str, folders))}; "
                "put one at NAME/1/model.onnx below it"
            )
    gate = None
    if profile_path is not None:
        machine = workload if policy is None else workload.model_copy(update={"policy": policy})
        mode = Mode(admission or Mode.REFUSE)
        gate = Gatekeeper(mode, machine, Apart(profile_path, any_machine))
        first = tuple(repository.find(name)[0] for name in initial) if repository else ()
        _check(gate, workload.tasks or first)
    settings = Settings(
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        max_body_bytes=max_body_bytes,
        limits=Limits(connections=max_connections),
        exit_timeout_s=exit_timeout_s,
        strict_readiness=strict_readiness,
        token=read_token(token_file) if token_file else os.environ.get("COTENANT_TOKEN") or None,
        certificate=Certificate(tls_cert, tls_key) if tls_cert and tls_key else None,
        repository=repository,
        initial=initial,
        explicit=control == "explicit",
        poll_s=poll_s if control == "poll" else None,
        records=records,
        admission=gate,
    )
    runtime = LiveRuntime(workload, policy, highest=highest)
    runtime.lead()
    names = ", ".join([*(task.name for task in workload.tasks), *initial])
    if log_format == "json":
        logging.getLogger("cotenant").info("loading %s", names)
    else:
        click.echo(f"loading {names or 'nothing yet'} ...")

    def on_ready(ports: Ports) -> None:
        _announce(runtime, settings, ports, as_json=log_format == "json")

    keep_freed_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_server(runtime, settings, on_ready))


def _check(gate: Gatekeeper, tasks: Sequence[Task]) -> None:
    """End with a status of its own if the machine should not even start."""
    try:
        asyncio.run(gate.check(tasks, "this workload is not admitted"))
    except Admission as error:
        click.echo(f"cotenant: {error}", err=True)
        raise click.exceptions.Exit(_REFUSED) from error


def _announce(runtime: LiveRuntime, settings: Settings, ports: Ports, as_json: bool) -> None:
    scheme = "http" if settings.certificate is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    endpoints = {
        "REST": f"{scheme}://{host}:{ports.http}",
        "gRPC": f"{host}:{ports.grpc}",
        "metrics": f"{scheme}://{host}:{ports.metrics}/metrics",
    }
    if as_json:
        logging.getLogger("cotenant").info("ready: %s", endpoints)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]cotenant[/] is ready; policy {runtime.policy_name}")
    for name, endpoint in endpoints.items():
        console.print(f"  {name:<12} {endpoint}", markup=False)
    console.print(f"  {'protection':<12} {runtime.protection}", markup=False)
    for name, served in runtime.served.items():
        task = served.task
        console.print(
            f"  {task.criticality:<12} {name} {served.version} on {served.component}: {task.model}",
            markup=False,
        )


class _JsonFormatter(logging.Formatter):
    """A log record becomes one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        content = {
            "time": wall_time_s(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(content).decode()


def _log_json() -> None:
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[stream], force=True)
