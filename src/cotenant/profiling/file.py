"""A profile goes to its JSON file and comes back; one that does not belong here is refused."""

import json
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from cotenant import __version__
from cotenant.core.errors import WorkloadError
from cotenant.core.hardware import machine_fingerprint
from cotenant.profiling.profile import Origin, Profile, differences

_VERSIONS = (1, 2)


def origin() -> Origin:
    """This machine, and the versions of what decides how fast it infers."""
    return Origin(
        machine_fingerprint(), {"cotenant": __version__, "onnxruntime": version("onnxruntime")}
    )


def save_profile(profile: Profile, path: Path) -> None:
    """Write the file whole or not at all.

    Raises:
        WorkloadError: it cannot be written there.
    """
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_text(profile.model_dump_json(indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise WorkloadError(
            f"cannot write profile {str(path)!r}: {error.strerror}; choose another place"
        ) from error


def load_profile(path: Path, here: Origin | None) -> Profile:
    """Read a profile; `here` is this machine, or `None` to take one from any machine.

    Raises:
        WorkloadError: no such file, no profile, impossible figures, or another machine's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkloadError(
            f"cannot read profile {str(path)!r}: {error}; make one with 'cotenant profile'"
        ) from error
    if isinstance(content, dict) and content.get("version") not in _VERSIONS:
        raise WorkloadError(
            f"{str(path)!r} is a profile of version {content.get('version')!r}; this installation "
            f"reads versions {' and '.join(map(str, _VERSIONS))}; run 'cotenant profile' again"
        )
    try:
        profile = Profile.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "profile"
        raise WorkloadError(
            f"{path}: {field}: {first['msg'].removeprefix('Value error, ')}; "
            "a profile is not edited by hand: run 'cotenant profile' again"
        ) from error
    foreign = [] if here is None else differences(profile, here)
    if foreign:
        raise WorkloadError(
            f"profile {str(path)!r} was measured elsewhere: {'; '.join(foreign)}; run 'cotenant "
            "profile' on this machine, or accept it with --any-machine"
        )
    return profile
