"""Nothing goes in; standard output, as wide as a table of ours wants it, comes out."""

import os

from rich.console import Console

_PIPE_WIDTH = 160


def table_console() -> Console:
    """As wide as the terminal; a pipe or a file has no width, and is to cut nothing."""
    return Console(width=None if os.isatty(1) else _PIPE_WIDTH)
