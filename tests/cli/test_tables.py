"""Tables are as wide as the terminal, and are not cut where there is none."""

import pytest

from cotenant.cli.tables import table_console


@pytest.mark.parametrize(("terminal", "width"), [(False, 160), (True, 91)])
def test_width_is_the_terminals_or_that_of_the_widest_table(
    terminal: bool, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.isatty", lambda descriptor: terminal)
    monkeypatch.setenv("COLUMNS", "91")
    assert table_console().width == width
