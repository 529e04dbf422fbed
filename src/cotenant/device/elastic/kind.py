"""A kind of accelerator, as those see it who never load its driver: names in, programs out."""

from typing import NamedTuple


class Kind(NamedTuple):
    """One interface through which devices are reached."""

    name: str
    """In workload files and in the targets of bundles: 'opencl' or 'cuda'."""
    title: str
    """In sentences."""
    room: str
    """Package with the programs `list`, `interpreter` and `warm`."""
    package: str
    """Python package that the driver is reached through."""
    target: str
    """What to compile for, as an example."""
    remedy: str
    """What to do where there is no device."""

    @property
    def install(self) -> str:
        """How to get the package."""
        return f"run: pip install 'cotenant[{self.name}]'"
