"""A console goes in; a bar of how far a long command is, and how long it still takes, comes out."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def progress_bar(
    console: Console,
    *,
    counted: bool = False,
    description_width: int | None = None,
    passing: bool = False,
) -> Progress:
    """The one look of all bars.

    Args:
        counted: what is done are things, and their numbers are shown.
        description_width: characters, so that the bar stays where it is while texts change.
        passing: it is gone when it has ended, and never drawn on what is no terminal.
    """
    aligned = "" if description_width is None else f":>{description_width}.{description_width}"
    columns: list[ProgressColumn] = [TextColumn(f"{{task.description{aligned}}}"), BarColumn()]
    if counted:
        columns.append(MofNCompleteColumn())
    return Progress(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        refresh_per_second=1,  # drawing must not take time from what is measured
        transient=passing,
        disable=passing and not console.is_terminal,
    )
