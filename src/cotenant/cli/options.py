"""Options that several commands share: a command goes in, the command with the option comes out."""

import click

from cotenant.device.cpu.scheduling import MAX_RUNG, Rung


class _Rungs(click.Choice[str]):
    """The names of the rungs; a name becomes a `Rung`."""

    def __init__(self) -> None:
        super().__init__([rung.value for rung in Rung])

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Rung:
        return Rung(super().convert(value, param, ctx))


class Counts(click.ParamType):
    """Whole numbers over 0 with commas between them; they become a tuple."""

    name = "counts"

    def convert(
        self, value: str | tuple[int, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            counts = tuple(int(part) for part in value.split(","))
        except ValueError:
            counts = (0,)
        if min(counts) < 1:
            self.fail(f"{value!r} is no list of whole numbers from 1 on; write 1,2", param, ctx)
        return counts


max_rung_option = click.option(
    "--max-rung",
    "highest",
    type=_Rungs(),
    envvar=MAX_RUNG,
    show_envvar=True,
    help="Best rung of protection to use; see 'cotenant devices'. Default: the best there is.",
)
"""What a command gets is called `highest`."""
