"""The bar of long commands shows what was asked for, and keeps out of what is no terminal."""

import io

import pytest
from rich.console import Console

from cotenant.cli.progress import progress_bar


def drawn(*, terminal=True, **options):
    """What a bar leaves behind that was at three of four things."""
    told = io.StringIO()
    console = Console(file=told, force_terminal=terminal, width=120, color_system=None)
    with progress_bar(console, **options) as progress:
        progress.add_task("convolution", total=4, completed=3)
    return told.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_numbers_are_shown_of_what_is_counted(terminal):
    assert "3/4" in drawn(counted=True, terminal=terminal)
    assert "3/4" not in drawn(terminal=terminal)
    assert "convolution" in drawn(terminal=terminal)


def test_the_bar_stays_where_it_is():
    longer, shorter = (drawn(terminal=False, description_width=width) for width in (30, 4))
    assert longer.index("━") == shorter.index("━") + 26
    assert shorter.startswith("conv ")


def test_a_passing_bar_is_not_drawn_on_what_is_no_terminal():
    assert drawn(passing=True, terminal=False) == ""
    assert "convolution" in drawn(passing=True)
