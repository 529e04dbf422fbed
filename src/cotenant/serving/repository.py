"""Folders in Triton's layout become tasks: `<folder>/<model>/[config.pbtxt, 1/model.onnx]`."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from cotenant.core.errors import CotenantError, ModelError, NotFound, WorkloadError
from cotenant.core.task import Task
from cotenant.runtime.base import Runtime
from cotenant.serving.admission import Load
from cotenant.serving.model_config import parse_config, task_of
from cotenant.serving.protocol import inference_pb2 as pb

_log = logging.getLogger(__name__)


class Repository:
    """Models in folders, looked up afresh each time, so that what is on disk counts."""

    def __init__(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise WorkloadError(
                    f"model repository {str(folder)!r} is not a folder; give --model-repository "
                    "a folder that holds one folder for each model"
                )
        self._folders = tuple(folders)

    def names(self) -> Sequence[str]:
        """Every model, in order."""
        return sorted(self._found())

    def find(self, name: str) -> tuple[Task, str]:
        """The task of a model, and the version that is served of it."""
        folder = self._found().get(name)
        if folder is None:
            raise NotFound(
                f"Request for unknown model: {name!r} is not in the model repository; "
                f"there is {', '.join(map(repr, self.names())) or 'none'}"
            )
        text, source = "", folder / "config.pbtxt"
        try:
            if source.exists():
                text = source.read_text(encoding="utf-8")
            versions = sorted(
                int(entry.name)
                for entry in folder.iterdir()
                if entry.is_dir() and entry.name.isdecimal() and entry.name[0] != "0"
            )
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"cannot read model folder {str(folder)!r}: {error}") from error
        config = parse_config(text, str(source))
        version = _chosen(versions, config.version_policy, folder)
        model = folder / str(version) / (config.default_model_filename or "model.onnx")
        if not model.is_file():
            raise ModelError(f"model {name!r}: there is no file {str(model)!r}; put it there")
        return task_of(name, model, config, str(source)), str(version)

    def stamp(self, name: str) -> tuple[object, ...]:
        """Something that differs when a model's files have changed."""
        folder = self._found().get(name)
        if folder is None:
            return ()
        files = (entry for entry in sorted(folder.rglob("*")) if entry.is_file())
        return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)

    def _found(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for repository in self._folders:
            for folder in repository.iterdir():
                if not folder.is_dir() or folder.name.startswith("."):
                    continue
                if folder.name in found:
                    raise WorkloadError(
                        f"model {folder.name!r} is in two repositories, {str(repository)!r} and "
                        f"{str(found[folder.name].parent)!r}; keep one"
                    )
                found[folder.name] = folder
        return found


class Follower:
    """Keeps a machine in step with its repository."""

    def __init__(self, repository: Repository, runtime: Runtime, load: Load | None = None) -> None:
        self._repository = repository
        self._runtime = runtime
        self._load = load or runtime.load
        self._stamps = {name: repository.stamp(name) for name in repository.names()}

    async def follow(self, period_s: float) -> None:
        """Look at the folders again and again; ends when it is cancelled."""
        while True:
            await asyncio.sleep(period_s)
            try:
                await self.step()
            except (CotenantError, OSError):
                _log.exception("cannot follow the model repository; the models stay as they are")

    async def step(self) -> None:
        """Load what is new or changed, unload what is gone."""
        stamps = {name: self._repository.stamp(name) for name in self._repository.names()}
        before, self._stamps = self._stamps, stamps
        for name in before.keys() - stamps.keys():
            _log.info("model %r has left the repository", name)
            await self._runtime.unload(name)
        for name, stamp in stamps.items():
            if before.get(name) == stamp:
                continue
            try:
                await self._load(*self._repository.find(name))
                _log.info("model %r was loaded from the repository", name)
            except CotenantError as error:
                _log.error("failed to load %r: %s", name, error)


def _chosen(versions: Sequence[int], policy: pb.ModelVersionPolicy, folder: Path) -> int:
    if policy.WhichOneof("policy_choice") == "specific":
        wanted = set(policy.specific.versions)
        versions = [version for version in versions if version in wanted]
    if not versions:
        raise ModelError(
            f"model folder {str(folder)!r} holds no version to serve; "
            "put the model in a folder named by a number: 1/model.onnx"
        )
    return versions[-1]
