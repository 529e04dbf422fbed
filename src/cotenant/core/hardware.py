"""The places that run segments, and the machine that they are part of."""

import os
import platform
from enum import IntEnum
from typing import NamedTuple


class Capability(IntEnum):
    """What a component can do with work that has started; each level includes the lower ones."""

    GATED = 0
    """Runs a segment to its end; work is held back only between segments."""
    ELASTIC = 1
    """Width and tile range are chosen at launch; a kernel yields at a tile boundary."""
    PREEMPTIVE = 2
    """Critical work interrupts best-effort work at once; the operating system interleaves."""


class Component(NamedTuple):
    """One place that runs segments."""

    name: str
    kind: str
    """'cpu', 'opencl', 'cuda' or 'null'."""
    cores: tuple[int, ...]
    """Processor numbers of a core set; empty where that means nothing."""
    capability: Capability
    units: int = 1
    """Physical blocks that fill it, where it is no core set."""

    @property
    def width(self) -> int:
        """The largest width that a segment can be given here."""
        return len(self.cores) or self.units


def allowed_cores() -> tuple[int, ...]:
    """Processors that this process may use, as the operating system limits it now."""
    return tuple(sorted(os.sched_getaffinity(0)))


def machine_fingerprint() -> dict[str, str | int]:
    """Facts that make two measurements comparable: processor, cores, memory, kernel, Python."""
    return {
        "processor": _processor_name(),
        "cores": len(allowed_cores()),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            for line in cpuinfo:
                if line.startswith(("model name", "Hardware", "Processor")):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
