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

_SETTLE_S = 1.0
"""Files that have not changed for so long have been copied."""
_LONGEST_PAUSE = 64
"""Looks between two attempts to load what failed and has not changed."""


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
    """Keeps a machine in step with its repository.

    A folder that changes between two looks is being copied, and is left alone until it holds
    still. What cannot be loaded is tried again when it changes, and else after 1, 2, 4 ... looks.
    """

    def __init__(
        self,
        repository: Repository,
        runtime: Runtime,
        loaded: Sequence[str],
        load: Load | None = None,
    ) -> None:
        """`loaded` are the models that the machine serves already, or is about to."""
        self._repository = repository
        self._runtime = runtime
        self._into = load or runtime.load
        self._tried = {name: repository.stamp(name) for name in loaded}
        """What each model's files were when it was last loaded, or could not be."""
        self._moving: dict[str, tuple[object, ...]] = {}
        self._failures: dict[str, _Failure] = {}

    async def follow(self, period_s: float) -> None:
        """Look at the folders again and again; ends when it is cancelled."""
        moving = False
        while True:
            await asyncio.sleep(min(period_s, _SETTLE_S) if moving else period_s)
            try:
                moving = await self.step()
            except (CotenantError, OSError) as error:
                moving = False
                _log.error("cannot follow the model repository; models stay as they are: %s", error)

    async def step(self) -> bool:
        """Load what is new or changed, unload what is gone; true while something is changing."""
        names = self._repository.names()
        for name in self._tried.keys() - names:
            await self._unload(name)
        moving: dict[str, tuple[object, ...]] = {}
        for name in names:
            try:
                stamp = self._repository.stamp(name)
            except OSError:  # a file went away while it was looked at
                stamp = (object(),)
            if stamp == self._tried.get(name):
                failure = self._failures.get(name)
                if failure is not None and failure.due():
                    await self._load(name, stamp)
            elif stamp == self._moving.get(name):
                await self._load(name, stamp)
            else:
                moving[name] = stamp
        self._moving = moving
        return bool(moving)

    async def _load(self, name: str, stamp: tuple[object, ...]) -> None:
        self._tried[name] = stamp
        try:
            await self._into(*self._repository.find(name))
        except (CotenantError, OSError) as error:
            before = self._failures.get(name)
            failure = self._failures[name] = _Failure(str(error), before)
            if before is None or failure.reason != before.reason:
                _log.error("failed to load %r: %s", name, error)
        else:
            self._failures.pop(name, None)
            _log.info("model %r was loaded from the repository", name)

    async def _unload(self, name: str) -> None:
        del self._tried[name]
        self._failures.pop(name, None)
        if name in self._runtime.served:
            _log.info("model %r has left the repository", name)
            await self._runtime.unload(name)


class _Failure:
    """Why a model could not be loaded, and when to try again although nothing has changed."""

    def __init__(self, reason: str, before: "_Failure | None") -> None:
        self.reason = reason
        self.pause: int = 1 if before is None else min(2 * before.pause, _LONGEST_PAUSE)
        self._left = self.pause

    def due(self) -> bool:
        """Called at each look."""
        self._left -= 1
        return self._left < 0


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
